"""The template *site*: a folder of Markdown as a site that works from the disk.

    collect ─► build (each page) ─┬─ check (all links) ─┬─► index
                                  └─ search ────────────┘

Links between Markdown files lead to pages, links to source files to listings with line numbers,
links to folders to what is in them. Every link and anchor within the site is checked against the
pages as they were written; links to elsewhere are listed, and nothing is fetched.

By default it is Muster's own documentation, or else the Markdown below the folder in which the run
is started, or else what installed packages say about themselves.

| module | does |
|---|---|
| `collecting` | finds pages, and whatever they link to |
| `rendering` | Markdown to HTML, by markdown-it-py; code by Pygments |
| `checking` | what a page offers and asks for, and whether it is there |
| `agents` | offers all that to the mesh |
"""
