"""The template *analysis*: a report on any CSV file.

    load ─► clean ─┬─ profile (each column) ─┬─► report
                   └─ statistics ────────────┘

By default the table is that of 344 penguins as they were measured at Palmer Station, Antarctica
(Gorman, Williams and Fraser 2014), which comes with the `palmerpenguins` library: with missing
values, dates, remarks and columns that say nothing.

Nothing is made up: missing values stay missing, and outliers are marked and not removed, unless the
run's input asks for it. Whatever is done to the table is said in the report. The same table gives
the same report, byte for byte.

| module | does |
|---|---|
| `tables` | reads CSV, as text and as columns of a kind |
| `cleaning` | kinds of columns, missing values, duplicates, outliers |
| `profiling` | what one column holds |
| `comparing` | correlations, and differences between groups |
| `charts` | SVG by matplotlib, in the colours of the page, light and dark |
| `reporting` | the page |
| `agents` | offers all that to the mesh |
"""
