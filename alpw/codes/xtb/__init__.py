"""GFN-xTB through tblite: the code that pip alone installs, for demos and pre-sampling."""
