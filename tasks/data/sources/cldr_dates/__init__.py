"""Date and time phrases of the same moment in two locales."""
