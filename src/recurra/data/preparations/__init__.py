"""How the files of each package become the plain files of a data set: one file a package, or a kind of file."""
