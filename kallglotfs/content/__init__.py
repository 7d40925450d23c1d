"""Bytes: which ones a read needs, where they are kept, how they are fetched ahead."""
