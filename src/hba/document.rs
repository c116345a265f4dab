//! pg_hba.conf, line by line, with the exact bytes of every line.
use super::assemble::Assembler;
use super::dialect::Dialect;
use super::entry::{HbaEntry, Row};
use super::fault::HbaFault;
use super::files::{Files, Wanted};
use super::given::Accepted;
use super::layout;
use super::rule::HbaRule;
use super::token::{comment, count_lines, is_open, pieces};
use crate::error::Result;
use std::ops::Range;
use std::sync::Arc;

/// How many rules around a new one are looked at for their columns, and in how many lines.
const AROUND: usize = 8;
const AROUND_LINES: usize = 100;

/// A main file with what it includes.
#[derive(Clone)]
pub(super) struct Document {
    path: Arc<str>,
    files: Files,
    dialect: Dialect,
    original: Arc<[u8]>,
    blocks: Vec<Block>,
    /// Where each rule is: its block, and its row there.
    rules: Vec<(usize, usize)>,
}

/// A line of the main file, with those that continue it, and what it says: nothing, one rule, or all that it includes.
#[derive(Clone)]
struct Block {
    text: Text,
    lines: usize,
    rows: Vec<Row>,
    place: Place,
    /// What a rule was before it was replaced.
    before: Option<Box<(Range<usize>, HbaRule)>>,
}

/// What comes before a block. Those behind one whose place is what it was are where they were, too.
#[derive(Clone, Copy, Default, PartialEq)]
struct Place {
    blocks: usize,
    rules: usize,
    /// The number of its first line, from 1; 0 until it was counted.
    line: usize,
}

/// A rule that is to be written, and what it says there.
pub(super) struct Ready {
    accepted: Accepted,
    rows: Vec<Row>,
}

#[derive(Clone)]
enum Text {
    /// Bytes of the original.
    Kept(Range<usize>),
    New {
        /// What has to come first, so that the line before does not run into this one: it may lack its end.
        lead: Vec<u8>,
        lead_lines: usize,
        line: Vec<u8>,
    },
}

impl Document {
    /// Reads a file. What `files` does not have counts as absent.
    pub(super) fn new(path: &str, mut files: Files, dialect: &Dialect) -> Self {
        loop {
            match Self::whole(path, &files, dialect) {
                Ok(document) => return document,
                Err(missing) => missing.into_iter().for_each(|wanted| files.give_up(wanted)),
            }
        }
    }

    /// The same, if nothing is missing of what the file names.
    ///
    /// # Errors
    /// What has to be read; when it is there, there may be more.
    pub(super) fn whole(path: &str, files: &Files, dialect: &Dialect) -> Result<Self, Vec<Wanted>> {
        let path: Arc<str> = path.into();
        let original = files.get(&path).flatten().unwrap_or_default();
        let mut assembler = Assembler::new(Arc::clone(&path), files, dialect);
        let blocks = pieces(&original, dialect.reading()).map(|piece| Block {
            text: Text::Kept(piece.range),
            lines: piece.lines,
            rows: assembler.records(piece.line, piece.record).map(|located| Row::of_record(located, dialect)).collect(),
            place: Place::default(),
            before: None,
        });
        let blocks = blocks.collect();
        assembler.missing().map_or(Ok(()), Err)?;
        let (files, dialect) = (files.clone(), dialect.clone());
        let mut document = Self { path, files, dialect, original, blocks, rules: Vec::new() };
        document.count(0);
        Ok(document)
    }

    /// Numbers lines and rules from a block on that was changed, or follows what is gone, as far as their numbers change.
    fn count(&mut self, from: usize) {
        let before = from.checked_sub(1).and_then(|before| self.blocks.get(before));
        let mut next = Place {
            blocks: from,
            rules: self.rules.partition_point(|(block, _)| *block < from),
            line: before.map_or(1, |before| before.place.line + before.lines),
        };
        for block in self.blocks.iter_mut().skip(from) {
            if let Text::New { lead_lines, .. } = &block.text {
                next.line += lead_lines;
            }
            if std::mem::replace(&mut block.place, next) == next {
                return;
            }
            for row in block.number(&self.path) {
                match self.rules.get_mut(next.rules) {
                    Some(rule) => *rule = (next.blocks, row),
                    None => self.rules.push((next.blocks, row)),
                }
                next.rules += 1;
            }
            next.blocks += 1;
            next.line += block.lines;
        }
        self.rules.truncate(next.rules);
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn files(&self) -> &Files {
        &self.files
    }

    pub(super) fn dialect(&self) -> &Dialect {
        &self.dialect
    }

    pub(super) fn old_bytes(&self) -> &[u8] {
        &self.original
    }

    pub(super) fn new_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.original.len() + 128);
        for block in &self.blocks {
            if let Text::New { lead, .. } = &block.text {
                bytes.extend_from_slice(lead);
            }
            bytes.extend_from_slice(self.line(block));
        }
        bytes
    }

    fn line<'a>(&'a self, block: &'a Block) -> &'a [u8] {
        match &block.text {
            Text::Kept(range) => self.original.get(range.clone()).unwrap_or_default(),
            Text::New { line, .. } => line,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.rules.len()
    }

    pub(super) fn get(&self, index: usize) -> Option<&HbaEntry> {
        let (block, row) = self.rules.get(index)?;
        match self.blocks.get(*block)?.rows.get(*row)? {
            Row::Rule { entry, .. } => Some(entry),
            Row::Fault(_) => None,
        }
    }

    /// What the server refuses.
    pub(super) fn faults(&self) -> impl Iterator<Item = &HbaFault> {
        self.blocks.iter().flat_map(|block| &block.rows).filter_map(|row| match row {
            Row::Fault(fault) => Some(fault),
            Row::Rule { .. } => None,
        })
    }

    /// What can never match.
    pub(super) fn warnings(&self) -> impl Iterator<Item = &HbaFault> {
        self.blocks.iter().flat_map(|block| &block.rows).filter_map(|row| match row {
            Row::Rule { warning, .. } => warning.as_deref(),
            Row::Fault(_) => None,
        })
    }

    /// Whether a rule stands in the main file itself.
    pub(super) fn is_own(&self, entry: &HbaEntry) -> bool {
        Arc::ptr_eq(&entry.file, &self.path)
    }

    /// The line before which a rule is to be put so that it comes before this one; none if that is in the middle of what
    /// another file has.
    pub(super) fn place_before(&self, index: usize) -> Option<usize> {
        let Some((block, _)) = self.rules.get(index) else { return Some(self.blocks.len()) };
        let previous = index.checked_sub(1).and_then(|previous| self.rules.get(previous));
        previous.is_none_or(|(other, _)| other != block).then(|| self.above_comment(*block))
    }

    /// The first line of the comment that stands right above a line and belongs to it; the line itself if there is none.
    /// A comment that begins the file, or names the columns, belongs to all.
    fn above_comment(&self, at: usize) -> usize {
        let is_comment = |block: &&Block| {
            let line = self.line(block);
            line.trim_ascii_start().starts_with(b"#") && !names_columns(line)
        };
        let lines = self.blocks.get(..at).unwrap_or_default().iter().rev().take_while(is_comment).count();
        if lines < at { at - lines } else { at }
    }

    /// The line before which a rule is to be put so that it comes right after this one.
    pub(super) fn place_after(&self, index: usize) -> Option<usize> {
        let (block, _) = self.rules.get(index)?;
        let next = self.rules.get(index + 1);
        next.is_none_or(|(other, _)| other != block).then_some(block + 1)
    }

    /// The end of the file.
    pub(super) fn end(&self) -> usize {
        self.blocks.len()
    }

    /// What is needed to write a rule into the file.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) where it names a file that was not read.
    pub(super) fn ready(&self, accepted: Accepted) -> Result<Ready> {
        let rows = Row::all_of_line(&accepted.words.join(&b' '), &self.path, &self.files, &self.dialect)?;
        Ok(Ready { accepted, rows })
    }

    /// Puts a rule before a line.
    pub(super) fn insert(&mut self, at: usize, Ready { accepted, rows }: Ready) {
        let mut line = layout::line(&accepted.words, self.around(at), self.dialect.reading());
        if let Some(comment) = &accepted.comment {
            line.push(b' ');
            line.extend_from_slice(comment);
        }
        // At the end of a file whose last line has no end, the new one has none.
        let has_end =
            self.blocks.get(at).is_some() || self.blocks.last().is_none_or(|last| self.line(last).ends_with(b"\n"));
        if has_end {
            line.extend_from_slice(self.line_end(at));
        }
        let block = self.block(line, rows);
        self.blocks.insert(at.min(self.blocks.len()), block);
        self.lead(at);
        self.lead(at + 1);
        self.count(at);
    }

    /// Writes another rule in the place of one of the main file's own, and leaves the comment behind it.
    pub(super) fn replace(&mut self, index: usize, Ready { accepted, rows }: Ready) {
        let Some((at, entry)) = self.rules.get(index).map(|(at, _)| *at).zip(self.get(index)) else { return };
        let Some(old) = self.blocks.get(at) else { return };
        if entry.rule == accepted.rule && accepted.comment.is_none() {
            return;
        }
        let before = match &old.text {
            // Its comment is another one from now on.
            _ if accepted.comment.is_some() => None,
            Text::Kept(range) => Some(Box::new((range.clone(), entry.rule.clone()))),
            Text::New { .. } => old.before.clone(),
        };
        // What ends the line before stays what it is.
        let kept_lead = match &old.text {
            Text::New { lead, lead_lines, .. } => (lead.clone(), *lead_lines),
            Text::Kept(_) => (Vec::new(), 0),
        };
        let mut block = match before {
            Some(before) if before.1 == accepted.rule => {
                let lines =
                    count_lines(self.original.get(before.0.clone()).unwrap_or_default(), self.dialect.reading());
                Block { text: Text::Kept(before.0), lines, rows, place: Place::default(), before: None }
            }
            before => Block { before, ..self.block(self.replaced(at, self.line(old), &accepted), rows) },
        };
        if let Text::New { lead, lead_lines, .. } = &mut block.text {
            (*lead, *lead_lines) = kept_lead;
        }
        if let Some(old) = self.blocks.get_mut(at) {
            *old = block;
        }
        self.lead(at);
        self.lead(at + 1);
        self.count(at);
    }

    /// The line of a rule with another one in its place.
    fn replaced(&self, at: usize, old: &[u8], accepted: &Accepted) -> Vec<u8> {
        let reading = self.dialect.reading();
        let mut line = layout::line(&accepted.words, self.around(at), reading);
        let text = without_end(old);
        let comment_at = comment(old, reading);
        let kept = comment_at.and_then(|at| text.get(at..));
        if let Some(comment) = accepted.comment.as_deref().or(kept) {
            let before = comment_at.and_then(|at| old.get(..at)).unwrap_or_default();
            let same_line = before.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
            layout::with_comment(&mut line, comment, same_line);
        }
        line.extend_from_slice(old.get(text.len()..).unwrap_or_default());
        line
    }

    /// Takes rules of the main file's own away, with their lines.
    pub(super) fn remove(&mut self, indexes: impl Iterator<Item = usize>) {
        let mut gone = vec![false; self.blocks.len()];
        for index in indexes {
            if let Some(gone) = self.rules.get(index).and_then(|(at, _)| gone.get_mut(*at)) {
                *gone = true;
            }
        }
        let first = gone.iter().position(|gone| *gone).unwrap_or(gone.len());
        let mut follows_gap = Vec::new();
        let mut was_gone = false;
        for (block, gone) in std::mem::take(&mut self.blocks).into_iter().zip(gone) {
            if !gone {
                follows_gap.extend(was_gone.then_some(self.blocks.len()));
                self.blocks.push(block);
            }
            was_gone = gone;
        }
        follows_gap.into_iter().for_each(|at| self.lead(at));
        self.count(first);
    }

    fn block(&self, line: Vec<u8>, rows: Vec<Row>) -> Block {
        let lines = count_lines(&line, self.dialect.reading());
        let text = Text::New { lead: Vec::new(), lead_lines: 0, line };
        Block { text, lines, rows, place: Place::default(), before: None }
    }

    /// Sees to it that a new line begins where the one before ends.
    fn lead(&mut self, at: usize) {
        let reading = self.dialect.reading();
        let Some(Block { text: Text::New { lead, .. }, .. }) = self.blocks.get(at) else { return };
        let previous = at.checked_sub(1).and_then(|previous| self.blocks.get(previous));
        let mut before = previous.map(|block| self.line(block).to_vec()).unwrap_or_default();
        let (length, lines) = (before.len(), count_lines(&before, reading));
        if is_open(&before, reading) {
            before.extend_from_slice(lead);
        }
        while length > 0 && is_open(&before, reading) {
            before.extend_from_slice(self.line_end(at));
        }
        let new_lines = count_lines(&before, reading);
        let new_lead = before.split_off(length);
        if let Some(Block { text: Text::New { lead, lead_lines, .. }, .. }) = self.blocks.get_mut(at) {
            (*lead, *lead_lines) = (new_lead, new_lines - lines);
        }
    }

    /// The blocks around a place, the nearest first.
    fn nearest(&self, at: usize) -> impl Iterator<Item = &Block> {
        (0..AROUND_LINES).flat_map(move |distance| {
            let before = at.checked_sub(distance + 1).and_then(|before| self.blocks.get(before));
            [self.blocks.get(at + distance), before].into_iter().flatten()
        })
    }

    /// The rules around a place that are one line each.
    fn around(&self, at: usize) -> impl Iterator<Item = (&[u8], &HbaRule)> {
        let own = self.nearest(at).filter_map(|block| match block.rows.as_slice() {
            [Row::Rule { entry, .. }] if self.is_own(entry) && block.lines == 1 => {
                Some((self.line(block), &entry.rule))
            }
            _ => None,
        });
        own.take(AROUND)
    }

    fn line_end(&self, at: usize) -> &[u8] {
        let ends = self.nearest(at).map(|block| {
            let line = self.line(block);
            line.get(without_end(line).len()..).unwrap_or_default()
        });
        ends.into_iter().find(|end| matches!(*end, b"\n" | b"\r\n")).unwrap_or(b"\n")
    }
}

impl Block {
    /// Gives its line's number to what stands in the main file, and says which rows are rules.
    fn number(&mut self, main: &Arc<str>) -> impl Iterator<Item = usize> {
        let line = self.place.line;
        self.rows.iter_mut().enumerate().filter_map(move |(index, row)| match row {
            Row::Rule { entry, warning } => {
                if Arc::ptr_eq(&entry.file, main) {
                    entry.line = line;
                    warning.iter_mut().for_each(|warning| warning.line = line);
                }
                Some(index)
            }
            Row::Fault(fault) => {
                if *fault.file == **main {
                    fault.line = line;
                }
                None
            }
        })
    }
}

/// Whether a comment is the heading over the rules.
fn names_columns(comment: &[u8]) -> bool {
    let is_blank = |byte: &u8| byte.is_ascii_whitespace() || *byte == b'#';
    let mut words = comment.split(is_blank).filter(|word| !word.is_empty());
    ["type", "database"].iter().all(|name| words.next().is_some_and(|word| word.eq_ignore_ascii_case(name.as_bytes())))
}

fn without_end(line: &[u8]) -> &[u8] {
    let mut line = line;
    while let [start @ .., b'\r' | b'\n'] = line {
        line = start;
    }
    line
}
