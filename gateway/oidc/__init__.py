"""Signing in at an OpenID provider: the way there and back, and the token that is brought."""
