"""The report of a run: charts, words, a reader for single chains, and the page that holds them."""
