import sys
import unittest

import sbom


def dep(name, *kinds):
    return {"pkg": name, "dep_kinds": [{"kind": kind} for kind in kinds]}


class Built(unittest.TestCase):
    def test_what_only_tests_need_is_left_out(self):
        nodes = [
            {"id": "root", "deps": [dep("a", None), dep("test", "dev"), dep("both", "dev", None)]},
            {"id": "a", "deps": [dep("make", "build")]},
            {"id": "both", "deps": []},
            {"id": "make", "deps": []},
            {"id": "test", "deps": []},
        ]
        needs = sbom.built({"resolve": {"root": "root", "nodes": nodes}})
        self.assertEqual(needs, {"root": ["a", "both"], "a": ["make"], "both": [], "make": []})

    def test_a_crate_has_its_checksum_and_its_licences_as_an_expression(self):
        package = {"name": "x", "version": "1.2.3", "license": "MIT/Apache-2.0"}
        found = sbom.component(package, {("x", "1.2.3"): "00ff"})
        self.assertEqual(found["purl"], "pkg:cargo/x@1.2.3")
        self.assertEqual(found["licenses"], [{"expression": "MIT OR Apache-2.0"}])
        self.assertEqual(found["hashes"], [{"alg": "SHA-256", "content": "00ff"}])

    def test_checksums_come_from_the_lock_file(self):
        lock = '[[package]]\nname = "x"\nversion = "1"\nchecksum = "00ff"\n[[package]]\nname = "own"\nversion = "2"\n'
        if sys.version_info < (3, 11):
            with self.assertRaisesRegex(SystemExit, "3.11"):
                sbom.locked_checksums(lock)
            why = "this Python has no tomllib, sbom.py takes 3.11"
            print(f"\nSKIPPED: reading Cargo.lock: {why}", file=sys.stderr)
            self.skipTest(why)
        self.assertEqual(sbom.locked_checksums(lock), {("x", "1"): "00ff", ("own", "2"): None})


if __name__ == "__main__":
    unittest.main()
