//! Any text as SQL with templates, and any name as the schema. `scripts/soak fuzz` runs it.
#![no_main]
use libfuzzer_sys::fuzz_target;
use pgsteward::{Ident, Templates, sql};

fuzz_target!(|input: (&str, &str)| {
    let (schema, text) = input;
    let Ok(templates) = Templates::new(schema) else { return };
    let Ok(replaced) = templates.replace(text) else { return };
    // What it became is read as it was meant: nothing is left to replace, and nothing else became code.
    assert_eq!(templates.replace(&replaced).expect("a text whose templates are replaced"), replaced);
    if !text.contains("{{") {
        assert_eq!(replaced, text);
    }
    // The schema's name makes no difference but for itself.
    let plain = Templates::new("plain").expect("a name");
    if !text.contains("plain") {
        let other = plain.replace(text).expect("a text that another schema could be put into");
        assert_eq!(other.replace("\"plain\"", &sql!("{}", Ident(schema)).to_string()), replaced);
    }
});
