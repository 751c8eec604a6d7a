"""The signatures of JSON Web Tokens that can be allowed, each with the kind of key that it needs and no other."""

from __future__ import annotations

ALGORITHMS = {
    "RS256": "RSA",
    "RS384": "RSA",
    "RS512": "RSA",
    "PS256": "RSA",
    "PS384": "RSA",
    "PS512": "RSA",
    "ES256": "EC",
    "ES384": "EC",
    "ES512": "EC",
    "EdDSA": "OKP",
    "Ed25519": "OKP",
    "HS256": "oct",
    "HS384": "oct",
    "HS512": "oct",
}
