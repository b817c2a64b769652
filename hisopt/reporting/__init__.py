"""A campaign's records as one page, and as tables for papers. Pandas in, text out."""
