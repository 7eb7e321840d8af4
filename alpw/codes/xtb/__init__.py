"""GFN-xTB through tblite: the label engine that pip alone installs, for demos and pre-sampling."""
