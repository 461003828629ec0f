"""HTML report of a ranking, made with Jinja2, which only this package needs: pip install 'leepfrog[report]'."""
