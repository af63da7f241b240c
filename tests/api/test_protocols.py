from importlib import import_module
from pkgutil import iter_modules

from tickertape.api import app, protocols


def test_each_folder_of_protocols_is_served() -> None:
    folders = {module.name for module in iter_modules(protocols.__path__) if module.ispkg}
    declared = {
        name: import_module(f"{protocols.__name__}.{name}").PROTOCOL for name in sorted(folders)
    }
    assert [name for name, protocol in declared.items() if protocol not in app._PROTOCOLS] == []
    assert len(app._PROTOCOLS) == len(declared)
