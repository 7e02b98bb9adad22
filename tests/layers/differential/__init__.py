"""Random layers, run by this library and by `keras.layers`, which must agree.

`case.cases()` draws a `Case`; `subject.Subject` builds it in one of the libraries;
`observation.observe` returns what a user sees of it, by name. The reference never sees padding:
`keras.layers` treats masks differently on every backend, so each row is run by itself, without its
padded steps (`without_padding.WithoutPadding`).
"""
