"""A ranking as one HTML file, by Jinja2, which is asked for only here: pip install 'leepfrog[report]'."""
