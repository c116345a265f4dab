"""Times how long the Ansible module postgresql_pg_hba takes to read files, for benches/hba.rs.

    ansible.py WHEEL FILE...

WHEEL is the package `ansible` as pip downloads it; nothing of it is installed. Prints, for each file, the number of
rules and the seconds that reading took, the shortest of three times.
"""

import re
import sys
import time
import types
import zipfile

COLLECTION = "ansible_collections/community/postgresql/"


def load(wheel):
    """The module, without the rest of Ansible: it needs that only to be told what to do."""
    basic = types.ModuleType("ansible.module_utils.basic")
    basic.AnsibleModule = basic.missing_required_lib = None
    for name in ("ansible", "ansible.module_utils"):
        sys.modules[name] = types.ModuleType(name)
    sys.modules[basic.__name__] = basic
    module = types.ModuleType("postgresql_pg_hba")
    with zipfile.ZipFile(wheel) as package:
        source = package.read(COLLECTION + "plugins/modules/postgresql_pg_hba.py")
        version = re.search(rb'"version": "([^"]*)"', package.read(COLLECTION + "MANIFEST.json"))
    exec(compile(source, "postgresql_pg_hba.py", "exec"), module.__dict__)
    return module, version.group(1).decode()


def main():
    module, version = load(sys.argv[1])
    print("community.postgresql %s, Python %s" % (version, sys.version.split()[0]))
    for path in sys.argv[2:]:
        times = []
        for _ in range(3):
            began = time.perf_counter()
            rules = module._from_file(path)
            times.append(time.perf_counter() - began)
        print(sum(not rule.is_special for rule in rules), min(times))


main()
