"""Tables in a page, between the comments `<!-- name -->` and `<!-- end of name -->`."""


def replace_table(page: str, name: str, table: str) -> str:
    """Returns the page with the table of that name replaced."""
    before, rest = page.split(f"<!-- {name} -->")
    _, after = rest.split(f"<!-- end of {name} -->")
    return f"{before}<!-- {name} -->\n\n{table}\n\n<!-- end of {name} -->{after}"
