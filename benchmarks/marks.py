"""Places in a page that a measurement fills: between `<!-- name -->` and `<!-- end of name -->`."""


def filled(page: str, name: str, table: str) -> str:
    """Returns the page with the table between the marks of that name, in place of what was."""
    before, rest = page.split(f"<!-- {name} -->")
    _, after = rest.split(f"<!-- end of {name} -->")
    return f"{before}<!-- {name} -->\n\n{table}\n\n<!-- end of {name} -->{after}"
