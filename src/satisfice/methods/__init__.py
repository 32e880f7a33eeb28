"""Every method of the catalogue: one package per family, one file per method."""
