"""Write the golden bundles: python -m tests.exchange.make_golden

Only for a new version of the format: the bundles of an old version must stay readable as they are. Where keys lie
there already, they are used again.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from relay.trust import keys
from relay.trust.keys import Keys
from tests.relays import World, remembered, unsealed

GOLDEN = Path(__file__).parent / "golden"


class GoldenWorld(World):
    """A world whose keys are those in the folder, as far as there are any."""

    def new_keys(self, name: str, years: float = 2.0) -> Keys:
        home = GOLDEN / "keys" / name
        if not home.exists():
            keys.save(super().new_keys(name, years), home, None)
        (home / keys.PLAIN).chmod(0o600)  # git does not keep that
        return keys.load(home, None)


def main() -> None:
    """Two legs, as they were sent; and the second one once more, without its seal."""
    folder = GOLDEN / "work"
    shutil.rmtree(folder, ignore_errors=True)
    world = GoldenWorld(folder)
    for path in (world.run(1)[0], world.make(2, cumulative=remembered(2))):
        (GOLDEN / path.name).write_bytes(path.read_bytes())
    world.deliver(path, "east")
    (GOLDEN / path.stem).write_bytes(unsealed(path.read_bytes(), world.keys["east"]))
    about = {
        "study": world.study,
        "now": world.now.isoformat(),
        "statements": {str(n): k.statement for n, k in world.stores["east"].ledger.record().legs.items()},
    }
    (GOLDEN / "about.json").write_text(json.dumps(about, indent=1) + "\n")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
