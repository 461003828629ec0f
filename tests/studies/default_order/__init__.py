"""Which default order picks the right model: a study on real images, judged where it did not choose.

    python -m studies.default_order extract|trials|tables [--out FOLDER]

See README.md beside this file. It runs for hours, can be stopped at any time and goes on where it was.
"""
