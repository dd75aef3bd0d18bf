"""DropboxStorage at another address than Dropbox's, which the SDK takes from the environment at its import alone."""

from __future__ import annotations

from typing import Any

from dropbox import create_session
from storages.backends.dropbox import DropboxStorage


class PointedDropboxStorage(DropboxStorage):  # type: ignore[misc]
    """The stock storage; only its client is told another host, and who vouches for that."""

    def get_default_settings(self) -> dict[str, Any]:
        return {**super().get_default_settings(), "api_host": "", "ca_certs": ""}

    @property
    def client(self) -> Any:
        return self._client

    @client.setter
    def client(self, client: Any) -> None:
        client._host_map = dict.fromkeys(client._host_map, self.api_host)
        client._session = create_session(ca_certs=self.ca_certs)
        client._session.trust_env = False  # or an authority that is told there would be asked instead
        self._client = client
