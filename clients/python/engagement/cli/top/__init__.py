"""`engagement top`: what a server does now, live on a terminal or as a page or JSON."""
