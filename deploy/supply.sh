#!/usr/bin/env bash
# What pageline is made of: `supply.sh sbom|licences|audit`, by a fresh environment that holds what a user's would.
set -euo pipefail
cd "$(dirname "$0")/.."
cache=.supply
tools=$cache/tools/bin
runtime=$cache/runtime/bin/python

if [ ! -e $cache/.installed ] || [ pyproject.toml -nt $cache/.installed ]; then
    echo "Setting up $cache (about a minute, once) ..." >&2
    rm -rf $cache
    "${PYTHON:-python3}" -m venv $cache/tools
    "${PYTHON:-python3}" -m venv $cache/runtime
    $tools/python -m pip install --quiet --disable-pip-version-check cyclonedx-bom pip-licenses pip-audit >&2
    $runtime -m pip install --quiet --disable-pip-version-check . >&2
    $runtime -m pip uninstall --quiet --yes --disable-pip-version-check setuptools >&2
    touch $cache/.installed
fi

case "${1:-}" in
sbom)
    $tools/cyclonedx-py environment $runtime --pyproject pyproject.toml --output-reproducible \
        --output-format JSON --output-file $cache/pageline.cdx.json
    echo "$cache/pageline.cdx.json" >&2
    ;;
licences)
    table=$($tools/pip-licenses --python=$runtime --format=markdown --order=name --ignore-packages pageline pip |
        grep -v '^| *Name' | grep -v '^|-' | sed -E 's/ +/ /g' | cut -d'|' -f2,4)
    head=$(sed '/^| package |/,$d' docs/licences.md)
    {
        printf '%s\n\n| package | licence, as it says itself |\n|---|---|\n' "$head"
        printf '%s\n' "$table" | sed -E 's/^ */| /; s/ *$/ |/'
    } >docs/licences.md.new
    mv docs/licences.md.new docs/licences.md
    ;;
audit)
    # what is installed there, by name and version: no package of ours is looked up
    $runtime -m pip freeze --disable-pip-version-check --exclude pageline | grep '==' >$cache/installed.txt
    $tools/pip-audit --requirement $cache/installed.txt --no-deps --disable-pip
    ;;
*)
    echo "usage: deploy/supply.sh sbom|licences|audit" >&2
    exit 2
    ;;
esac
