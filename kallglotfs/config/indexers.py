"""Programs that walk through everything a user has, by the names under which they run (proc(5), `comm`).

They open file after file to index or to draw it. Here every file may cost a request of a small budget, and
what was said on the phone has no place in an index.
"""

INDEXERS = (
    # GNOME's tracker and its successor
    "tracker-miner-fs",
    "tracker-miner-f",
    "tracker-extract",
    "localsearch-3",
    "localsearch-ext",
    # KDE's
    "baloo_file",
    "baloo_file_extr",
    # locate's
    "updatedb",
    "updatedb.mlocat",
    "updatedb.plocat",
    # macOS
    "mds",
    "mdworker",
    "mdworker_shared",
    # what desktops draw previews with
    "tumblerd",
    "ffmpegthumbnail",
    "totem-video-thu",
    "gnome-thumbnail",
    "kioworker.thumb",
    # others
    "recollindex",
    "zeitgeist-fts",
)
