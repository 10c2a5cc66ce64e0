"""Words become a plan, without a server: a lexicon of the catalogue, a grammar of the words around names, scopes."""
