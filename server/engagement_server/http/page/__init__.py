"""The status page as a browser gets it: a document, a script, a style and a picture, which nothing builds."""
