"""One form of saying a thing: loops, composites, identities, constants, what nobody reads."""
