//! Any text as a file of SQL, cut into statements. `scripts/soak fuzz` runs it.
#![no_main]
use libfuzzer_sys::fuzz_target;
use pgsteward::__pieces as pieces;

fuzz_target!(|text: &str| {
    let at_once = pieces(text, text.len());
    for step in [1, 7] {
        assert_eq!(pieces(text, step), at_once);
    }
    match at_once {
        Ok(pieces) => {
            assert_eq!(pieces.iter().map(|(_, piece)| piece.as_str()).collect::<String>(), text);
            assert!(pieces.iter().all(|(_, piece)| !piece.is_empty()));
        }
        Err(problem) => assert_ne!(problem, "the text goes on behind its end"),
    }
});
