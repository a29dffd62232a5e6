#!/bin/sh
# Installs relay from this folder, without a network: sh install.sh [ENVIRONMENT]
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd) || exit 2
for python in "python@PYTHON@" python3 python; do
    if command -v "$python" >/dev/null 2>&1; then
        exec "$python" -I "$here/install_kit.py" "$@"
    fi
done
echo "error: there is no Python here" >&2
echo "what to do: install Python @PYTHON@, then run this again." >&2
exit 2
