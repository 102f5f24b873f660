//! Promise: the schemas only ever grow, so that what older versions wrote is read: each is held against its copy beside
//! the golden data of every released format (`tests/golden/`), by the rules of `flatc --conform` and two more: names
//! stay, and what is new is optional.

mod conform;
mod parse;

use std::fs;
use std::path::{Path, PathBuf};

use conform::violations;
use parse::Schema;

fn listed(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    entries.map(|entry| entry.expect("an entry").path()).collect()
}

fn read(path: &Path) -> Schema {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    Schema::parse(&text).unwrap_or_else(|why| panic!("{}: {why}", path.display()))
}

#[test]
fn what_was_released_stays_readable() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut compared = 0;
    for format in listed(&root.join("tests/golden")) {
        for released in listed(&format.join("schema")) {
            let present = root.join("schema").join(released.file_name().expect("a name"));
            let violations = violations(&read(&released), &read(&present));
            assert!(
                violations.is_empty(),
                "{} against {}:\n{}",
                present.display(),
                released.display(),
                violations.join("\n")
            );
            compared += 1;
        }
    }
    assert!(compared >= 3, "only {compared} schemas were compared");
}

const RELEASED: &str = "
    namespace a.b;
    struct Pair { first: ulong; second: uint; }
    enum Colour : ubyte { Red, Green }
    table Old { x: uint; }
    table Item {
      name: [ubyte] (required);   // a comment; with { } and (deprecated)
      size: ulong = 7;
      colour: Colour;
      pairs: [Pair];
      other: Old;
    }
    union Any { Old, Item }
    table Root { any: Any (required); }
    root_type Root;
";

/// What is said of the released schema with `old` replaced by `new`.
fn changed(old: &str, new: &str) -> String {
    assert!(RELEASED.contains(old), "{old} is not in the schema");
    let changed = Schema::parse(&RELEASED.replacen(old, new, 1)).expect("a schema");
    violations(&Schema::parse(RELEASED).expect("a schema"), &changed).join("\n")
}

#[test]
fn growth_at_the_end_is_no_violation() {
    for (old, new) in [
        ("other: Old;", "other: Old; more: [string]; flag: bool = true;"),
        ("Red, Green", "Red, Green, Blue, Grey = 9"),
        ("Red, Green", "Red = 0, Green = 1"),
        ("Old, Item", "Old, Item, Root"),
        ("size: ulong = 7;", "size: ulong = 7 (deprecated);"),
        ("table Root", "table New { y: Pair; } struct Triple { z: ubyte; } enum Taste : byte { Sweet } table Root"),
    ] {
        assert_eq!(changed(old, new), "", "{old} became {new}");
    }
}

#[test]
fn everything_else_is() {
    for (old, new, said) in [
        ("size: ulong = 7;", "", "Item: field 1 was size: ulong = 7, and is colour: Colour"),
        ("size: ulong = 7;", "size: uint = 7;", "Item: field 1 was size: ulong = 7, and is size: uint = 7"),
        ("size: ulong = 7;", "size: ulong;", "Item: field 1 was size: ulong = 7, and is size: ulong"),
        ("size: ulong = 7;", "bytes: ulong = 7;", "Item: field 1 was size: ulong = 7, and is bytes: ulong = 7"),
        ("size: ulong = 7;", "size: [ulong];", "Item: field 1 was size: ulong = 7, and is size: [ulong]"),
        ("size: ulong = 7;", "new: bool; size: ulong = 7;", "Item: field 1 was size: ulong = 7, and is new: bool"),
        ("other: Old;", "", "Item: field 4 was other: Old, and is gone"),
        ("other: Old;", "other: Old (required);", "Item: field 4 was other: Old, and is other: Old (required)"),
        ("[ubyte] (required)", "[ubyte]", "Item: field 0 was name: [ubyte] (required), and is name: [ubyte]"),
        ("[ubyte] (required)", "[ubyte] (deprecated)", "Item: field 0 was name: [ubyte] (required), and is"),
        ("other: Old;", "other: Old; new: Old (required);", "Item: new is required, and older data lack it"),
        ("second: uint;", "second: uint; third: uint;", "Pair: a struct never changes"),
        ("first: ulong; second: uint;", "second: uint; first: ulong;", "Pair: a struct never changes"),
        ("Red, Green", "Green, Red", "Colour: member 0 was Red = 0, and is Green = 0"),
        ("Red, Green", "Red = 1, Green", "Colour: member 0 was Red = 0, and is Red = 1"),
        ("Red, Green", "Red", "Colour: member 1 was Green = 1, and is gone"),
        ("Colour : ubyte", "Colour : ushort", "Colour: it was of ubyte, and is of ushort"),
        ("Old, Item", "Item, Old", "Any: member 1 was Old, and is Item"),
        ("Old, Item", "Old", "Any: member 2 was Item, and is gone"),
        ("table Old { x: uint; }", "struct Old { x: uint; }", "Old: it was a table, and is a struct"),
        ("enum Colour : ubyte { Red, Green }", "", "Colour: it is gone"),
        ("root_type Root", "root_type Item", "the root was Root, and is Item"),
    ] {
        let changed = changed(old, new);
        assert!(changed.contains(said), "{old} became {new}: {changed:?}");
    }
}

#[test]
fn what_the_check_does_not_understand_it_refuses() {
    for (old, new) in [
        ("size: ulong = 7;", "size: ulong = 7 (id: 3);"),
        ("namespace a.b;", "include \"other.fbs\";"),
        ("union Any { Old, Item }", "union Any { Old, x: Item }"),
        ("table Old { x: uint; }", "table Old { x: uint }"),
        ("root_type Root;", "root_type Root"),
    ] {
        assert!(Schema::parse(&RELEASED.replacen(old, new, 1)).is_err(), "{new} is understood");
    }
}
