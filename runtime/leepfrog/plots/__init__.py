"""Plots made with matplotlib, which only this package needs: pip install 'leepfrog[plot]'."""
