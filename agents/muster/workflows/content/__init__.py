"""The template *content*: from source texts to articles, with a review that can say no.

    plan ─► for each topic, a child workflow of its own:
              draft ─► review ─► (redraft ─► review) at most twice ─► edit ─► publish
              still rejected: the item fails, and the run goes on without it
         ─► index

No language model writes here: a draft is *extracted*. TextRank finds the sentences that speak for
the others, a reviewer measures the result (length, key terms, readability, repetition, whether
each sentence is verbatim in its source), and a redraft answers the reviewer's remarks. Every
sentence of an article links to the sentence of the source from which it comes.

By default the sources are 100 texts that come with Python: the longer articles of its language
reference (`pydoc_data.topics`) and the documentation within the modules of its standard library.

| module | does |
|---|---|
| `sources` | finds the texts on this machine |
| `language` | sentences, words, stems, syllables |
| `planning` | key terms, by what is special about a text among all |
| `drafting` | ranks sentences and chooses among them |
| `reviewing` | measures a draft and says yes, or why not |
| `editing` | paragraphs, Markdown, the pages |
| `agents` | offers all that to the mesh |
"""
