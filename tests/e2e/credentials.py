"""Who trusts whom in a NATS server with JWTs: an operator, an account, a user. Made as nsc makes them."""

import base64
import json
import os
import time
from pathlib import Path
from typing import Any

import nkeys


class Key:
    """Of an operator, an account or a user, by `prefix`."""

    def __init__(self, prefix: int) -> None:
        self.seed: bytes = nkeys.encode_seed(os.urandom(32), prefix)
        self._pair = nkeys.from_seed(bytearray(self.seed))
        self.name: str = self._pair.public_key.decode()

    def vouch(self, other: "Key", kind: str, **claims: Any) -> str:
        """The JWT that says what `other` is and may do."""
        body = {"jti": os.urandom(8).hex(), "iat": int(time.time()), "iss": self.name, "sub": other.name, "name": kind}
        body["nats"] = {"type": kind, "version": 2, **claims}
        text = b".".join(_part(part) for part in ({"typ": "JWT", "alg": "ed25519-nkey"}, body))
        return (text + b"." + _base64(self._pair.sign(text))).decode()


class Realm:
    """The configuration of a server with one account, whose streams live on files; and credentials for it."""

    def __init__(self) -> None:
        operator = Key(nkeys.PREFIX_BYTE_OPERATOR)
        system, self._account = Key(nkeys.PREFIX_BYTE_ACCOUNT), Key(nkeys.PREFIX_BYTE_ACCOUNT)
        endless = {"subs": -1, "data": -1, "payload": -1, "conn": -1, "leaf": -1, "disk_storage": -1, "streams": -1}
        account = operator.vouch(self._account, "account", limits={**endless, "consumer": -1})
        self.configuration = (
            f"operator: {operator.vouch(operator, 'operator')}\n"
            f"system_account: {system.name}\n"
            "resolver: MEMORY\n"
            f"resolver_preload: {{{self._account.name}: {account}\n"
            f"                   {system.name}: {operator.vouch(system, 'account')}}}\n"
        )

    def credentials(self, path: Path) -> str:
        """A new user's, written to that file; returns its name."""
        user = Key(nkeys.PREFIX_BYTE_USER)
        jwt = self._account.vouch(user, "user", subs=-1, data=-1, payload=-1)
        with path.open("w") as file:
            for name, value in (("NATS USER JWT", jwt), ("USER NKEY SEED", user.seed.decode())):
                print(f"-----BEGIN {name}-----\n{value}\n------END {name}------\n", file=file)
        return str(path)


def _part(value: dict[str, Any]) -> bytes:
    return _base64(json.dumps(value).encode())


def _base64(text: bytes) -> bytes:
    return base64.urlsafe_b64encode(text).rstrip(b"=")
