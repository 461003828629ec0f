"""JSON Schemas of results: `leepfrog schema` prints them."""
