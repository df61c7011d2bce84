"""Stands in for llama.cpp where only the process round it is tested: the same constructor, no model, no port."""

import time
from pathlib import Path
from types import SimpleNamespace


class CommonParams(SimpleNamespace):
    def __init__(self):
        super().__init__(model=SimpleNamespace(path=""), cpuparams=SimpleNamespace(n_threads=-1))


class Server:
    def __init__(self, parameters):
        what = Path(parameters.model.path).read_bytes()[4:]
        if what == b"damaged":
            raise RuntimeError("Failed to init server, please check the input params.")
        if what == b"endless":
            time.sleep(3600)
        self.parameters = parameters

    @property
    def listening_address(self):
        [host] = self.parameters.hostnames
        return f"http://{host}:{self.parameters.port}/{self.parameters.n_ctx}/{self.parameters.cpuparams.n_threads}"
