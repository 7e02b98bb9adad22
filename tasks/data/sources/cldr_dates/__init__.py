"""`cldr_dates`: phrases for the same date and time in two locales."""
