"""Every bound of the audit, in one place. Nothing here changes at run time."""

from typing import Final

# Collecting. Larger files are data or generated; the largest hand-written module of the standard
# library has 229 KB.
FILE_BYTES_MAX: Final = 512 * 1024
FILES_MAX: Final = 20_000
COLLECTION_BYTES_MAX: Final = 256 * 1024 * 1024
BINARY_SNIFF_BYTES: Final = 8 * 1024

# Planning. 128 KiB of source is 20 to 60 ms of work per step: long against the start of the linter
# (10 ms), short against the run.
BATCH_BYTES_MAX: Final = 128 * 1024
BATCH_FILES_MAX: Final = 64

# Reading. A longer line is data: it counts as a line and is not looked into.
LINE_CHARS_MAX: Final = 5_000
HEADER_LINES_MAX: Final = 60
LICENCES_PER_FILE_MAX: Final = 16
COPYRIGHTS_PER_FILE_MAX: Final = 8
COPYRIGHT_CHARS_MAX: Final = 160
IMPORTS_PER_FILE_MAX: Final = 1_000
LARGEST_FUNCTIONS_MAX: Final = 8

# Linting.
FINDINGS_PER_FILE_MAX: Final = 500
MESSAGE_CHARS_MAX: Final = 240
LINT_TIMEOUT_SECONDS: Final = 120
COMPLEXITY_MAX: Final = 10

# Clones: runs of CLONE_GRAM_LINES significant lines are hashed, the smallest hash of every window
# of CLONE_WINDOW_GRAMS is kept, so a copy of at least GRAM + WINDOW - 1 = 11 lines is always found.
# The window must not be wider than the gram: neighbouring fingerprints then overlap, and a shared
# chain of them proves every line between its ends.
CLONE_GRAM_LINES: Final = 8
CLONE_WINDOW_GRAMS: Final = 4
CLONE_DISTINCT_LINES_MIN: Final = 5
CLONE_PRINTS_PER_FILE_MAX: Final = 8_000
CLONE_GROUPS_MAX: Final = 200
CLONE_LOCATIONS_MAX: Final = 100

# Import graph.
CYCLES_MAX: Final = 50
DEPENDED_ON_MAX: Final = 50

# Run statistics. A straggler ran three times its capability's median and 250 ms longer than it.
STRAGGLER_RATIO: Final = 3.0
STRAGGLER_EXCESS_MS: Final = 250.0
STRAGGLER_SAMPLES_MIN: Final = 5
STRAGGLERS_MAX: Final = 20
THROUGHPUT_BINS_MAX: Final = 60

# Report.
INCOMPLETE_PATHS_MAX: Final = 50
PAGE_HOT_SPOTS_MAX: Final = 60
PAGE_FINDINGS_PER_FILE_MAX: Final = 40
PAGE_RULES_MAX: Final = 200
PAGE_RULES_OPEN: Final = 20
PAGE_CLONES_MAX: Final = 40
PAGE_FILES_MAX: Final = 1_000
LARGE_FUNCTIONS_MAX: Final = 25
