"""Writes a software bill of materials, CycloneDX 1.6 as JSON, of what the binary is built from: every crate of
Cargo.lock that the host's build needs, with licence, checksum and what it depends on; and the run-time parts of
scripts/parts.json. Equal inputs give equal bytes.

python3 scripts/sbom.py [FILE]    (Python 3.11 or newer)
"""

import json
import subprocess
import sys
import uuid
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Names the documents of this program.
SPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://pairwright.dev/sbom")


def cargo_metadata():
    host = next(
        line.split()[1]
        for line in subprocess.check_output(["rustc", "-vV"], text=True).splitlines()
        if line.startswith("host:")
    )
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", host]
    return json.loads(subprocess.check_output(command, cwd=ROOT))


def built(metadata):
    """The ids that the program is built from and of, with what each needs: no tests, no benches."""
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    needs, todo = {}, [metadata["resolve"]["root"]]
    while todo:
        one = todo.pop()
        if one in needs:
            continue
        deps = nodes[one]["deps"]
        needs[one] = sorted(
            {dep["pkg"] for dep in deps if any(kind["kind"] != "dev" for kind in dep["dep_kinds"])}
        )
        todo.extend(needs[one])
    return needs


def reference(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def component(package, checksums):
    found = {
        "type": "library",
        "bom-ref": reference(package),
        "name": package["name"],
        "version": package["version"],
        "purl": reference(package),
    }
    if package.get("license"):
        # Cargo's older form wrote a slash for OR.
        found["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    checksum = checksums.get((package["name"], package["version"]))
    if checksum:
        found["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    return found


def run_time_parts():
    """The files that `make setup` fetches for this program to run, each by its hash."""
    parts = json.loads((ROOT / "scripts/parts.json").read_text())
    found = []

    def walk(name, value):
        if isinstance(value, dict):
            if "sha256" in value:
                found.append((name, value))
            for key, inner in value.items():
                walk(f"{name}/{key}" if name else key, inner)
        elif isinstance(value, list):
            for at, inner in enumerate(value):
                walk(f"{name}/{at}", inner)

    walk("", parts)
    return [
        {
            "type": "file",
            "bom-ref": f"part:{name}",
            "name": name,
            **({"version": str(part["version"])} if "version" in part else {}),
            "hashes": [{"alg": "SHA-256", "content": part["sha256"]}],
        }
        for name, part in sorted(found, key=lambda pair: pair[0])
        if isinstance(part["sha256"], str)
    ]


def locked_checksums(lock):
    """The checksum, None of a crate of this repository, by name and version."""
    try:
        # Python 3.11 has it first; set-up and its tests, which import this file, take 3.9.
        import tomllib
    except ImportError:
        sys.exit("sbom.py reads Cargo.lock with tomllib: it takes Python 3.11 or newer")
    return {(one["name"], one["version"]): one.get("checksum") for one in tomllib.loads(lock)["package"]}


def document():
    metadata = cargo_metadata()
    checksums = locked_checksums((ROOT / "Cargo.lock").read_text())
    packages = {package["id"]: package for package in metadata["packages"]}
    needs, root = built(metadata), metadata["resolve"]["root"]
    crates = sorted((one for one in needs if one != root), key=lambda one: reference(packages[one]))
    main = component(packages[root], checksums) | {"type": "application"}
    components = [component(packages[one], checksums) for one in crates] + run_time_parts()
    graph = [
        {"ref": reference(packages[one]), "dependsOn": [reference(packages[dep]) for dep in needs[one]]}
        for one in sorted(needs, key=lambda one: reference(packages[one]))
    ]
    serial = uuid.uuid5(SPACE, json.dumps([main, components, graph], sort_keys=True))
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": {"component": main},
        "components": components,
        "dependencies": graph,
    }


def main():
    text = json.dumps(document(), indent=1) + "\n"
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(text)
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
