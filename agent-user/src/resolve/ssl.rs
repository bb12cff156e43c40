//! OpenSSL 1.1 and 3, BoringSSL: the functions of `ssl_lib` by the error codes and names that they report.

use std::collections::{BTreeMap, BTreeSet};

use super::anchors::{Text, references, strings};
use super::body::{Body, Convention, Report};
use super::image::Image;
use super::knowledge::{Boringssl, Knowledge, Openssl3, Openssl11};
use super::starts::each_call;
use super::{Function, Lazy, Refused, Role, Stack, function, only};

/// Functions of one source file. `ssl_lib` has about 300.
const FUNCTIONS: usize = 2048;

/// A function that refers to an anchor.
pub(super) struct Referrer {
    pub(super) body: Body,
    /// Index of each string it refers to, and the instruction that does.
    pub(super) references: Vec<(usize, usize)>,
}

impl Referrer {
    pub(super) fn refers_to(&self, string: usize) -> bool {
        self.references.iter().any(|(_, index)| *index == string)
    }
}

pub(super) fn find(
    image: &Image<'_>,
    starts: &mut Lazy<'_, '_>,
    knowledge: &Knowledge,
) -> Vec<(Stack, Result<Vec<Function>, Refused>)> {
    let three = &knowledge.openssl3;
    let wanted = [
        Text::Tail(&three.file),
        Text::Tail(&knowledge.boringssl.file),
        Text::Name(&three.read_internal),
        Text::Name(&three.write_internal),
        Text::Name(&three.read),
        Text::Name(&three.write),
    ];
    let gather = |image, starts: &mut Lazy<'_, '_>| {
        let strings = strings(image, &wanted)?;
        if !strings.values().any(|index| *index < 2) {
            return Ok(BTreeMap::new());
        }
        referrers(image, starts, &references(image, &strings)?)
    };
    let all = match gather(image, starts) {
        Ok(all) => all,
        Err(refused) => return vec![(Stack::Openssl, Err(refused))],
    };
    let mut found = Vec::new();
    if all.values().any(|one| one.refers_to(OPENSSL_FILE)) {
        let named = all.values().any(|one| one.refers_to(READ_INTERNAL) || one.refers_to(WRITE_INTERNAL));
        let outcome = if named { openssl3(image, &all, three) } else { openssl11(image, &all, &knowledge.openssl11) };
        found.push((Stack::Openssl, outcome));
    }
    if all.values().any(|one| one.refers_to(BORINGSSL_FILE)) {
        found.push((Stack::Boringssl, boringssl(image, starts, &all, &knowledge.boringssl)));
    }
    found
}

/// Indices into the wanted strings above.
const OPENSSL_FILE: usize = 0;
const BORINGSSL_FILE: usize = 1;
const READ_INTERNAL: usize = 2;
const WRITE_INTERNAL: usize = 3;
const READ: usize = 4;
const WRITE: usize = 5;

/// The functions around references, by address, with what they report about strings that are files.
pub(super) fn referrers(
    image: &Image<'_>,
    starts: &mut Lazy<'_, '_>,
    references: &[(u64, usize)],
) -> Result<BTreeMap<u64, Referrer>, Refused> {
    let mut found: BTreeMap<u64, Referrer> = BTreeMap::new();
    for (place, string) in references {
        // A reference outside of any function is data that looks like code.
        let Ok(run) = starts.get().around(image, *place) else { continue };
        if found.len() >= FUNCTIONS && !found.contains_key(&run.address) {
            return Err(Refused::TooMany("functions that refer to one file"));
        }
        let one = found.entry(run.address).or_insert_with(|| Referrer { body: Body::decode(run), references: Vec::new() });
        if let Some(index) = one.body.index_of(*place) {
            one.references.push((index, *string));
        }
    }
    Ok(found)
}

/// Reads what functions report about files whose index passes `is_file`. One convention holds for a whole program.
pub(super) fn report(all: &BTreeMap<u64, Referrer>, is_file: impl Fn(usize) -> bool) -> BTreeMap<u64, BTreeSet<Report>> {
    let sites = || {
        all.iter().flat_map(|(address, one)| {
            one.references.iter().filter(|(_, string)| is_file(*string)).map(move |(index, _)| (*address, one, *index))
        })
    };
    let mut votes: BTreeMap<Convention, usize> = BTreeMap::new();
    for convention in sites().filter_map(|(_, one, index)| one.body.convention_at(index)) {
        *votes.entry(convention).or_default() += 1;
    }
    let Some((convention, _)) = votes.into_iter().max_by_key(|(_, count)| *count) else { return BTreeMap::new() };
    let mut reports: BTreeMap<u64, BTreeSet<Report>> = BTreeMap::new();
    for (address, one, index) in sites().filter(|(_, one, index)| one.body.convention_at(*index) == Some(convention)) {
        reports.entry(address).or_default().extend(one.body.reports_at(index, convention));
    }
    reports
}

/// The internal functions serve every public one; where the compiler put them into their callers, all copies are taken.
fn openssl3(image: &Image<'_>, all: &BTreeMap<u64, Referrer>, names: &Openssl3) -> Result<Vec<Function>, Refused> {
    let mut functions = Vec::new();
    let sides = [
        (READ_INTERNAL, READ, Role::ReadInto, Role::Read, &names.read_internal),
        (WRITE_INTERNAL, WRITE, Role::WriteFrom, Role::Write, &names.write_internal),
    ];
    for (internal, public, by_pointer, by_length, name) in sides {
        let holders: Vec<&Referrer> = all.values().filter(|one| one.refers_to(internal) && one.refers_to(OPENSSL_FILE)).collect();
        if holders.is_empty() || holders.len() > 4 {
            return Err(Refused::Ambiguous { what: "an internal read or write", candidates: holders.len() });
        }
        for one in holders {
            let role = if one.refers_to(public) { by_length.clone() } else { by_pointer.clone() };
            functions.push(function(image, role, one.body.address, format!("names itself {name}"))?);
        }
    }
    Ok(functions)
}

/// The same by numbers.
fn openssl11(image: &Image<'_>, all: &BTreeMap<u64, Referrer>, numbers: &Openssl11) -> Result<Vec<Function>, Refused> {
    let reports = report(all, |string| string == OPENSSL_FILE);
    let holders = |number: u32| -> Vec<u64> {
        let says = |reports: &&BTreeSet<Report>| reports.iter().any(|report| report.function == Some(number));
        reports.iter().filter(|(_, reports)| says(reports)).map(|(address, _)| *address).collect()
    };
    let mut functions = Vec::new();
    let sides = [
        (numbers.read_internal, numbers.read, Role::ReadInto, Role::Read),
        (numbers.write_internal, numbers.write, Role::WriteFrom, Role::Write),
    ];
    for (internal, public, by_pointer, by_length) in sides {
        let publics = holders(public);
        let internals = holders(internal);
        if internals.is_empty() || internals.len() > 4 {
            return Err(Refused::Ambiguous { what: "an internal read or write", candidates: internals.len() });
        }
        for address in internals {
            let role = if publics.contains(&address) { by_length.clone() } else { by_pointer.clone() };
            functions.push(function(image, role, address, format!("reports function {internal}"))?);
        }
    }
    Ok(functions)
}

fn boringssl(
    image: &Image<'_>,
    starts: &mut Lazy<'_, '_>,
    all: &BTreeMap<u64, Referrer>,
    wanted: &Boringssl,
) -> Result<Vec<Function>, Refused> {
    let mut reports = report(all, |string| string == BORINGSSL_FILE);
    reports.retain(|_, reports| !reports.is_empty());
    let reasons = |address: &u64| -> BTreeSet<u32> { reports[address].iter().map(|report| report.reason).collect() };
    let answering = |test: &dyn Fn(&BTreeSet<u32>) -> bool| -> Vec<u64> {
        reports.keys().filter(|address| test(&reasons(address))).copied().collect()
    };
    let exactly: BTreeSet<u32> = wanted.write.iter().copied().collect();
    let write = only(answering(&|reasons| *reasons == exactly), "SSL_write")?;
    let inner = only(answering(&|reasons| wanted.read_impl.answered_by(reasons)), "ssl_read_impl")?;
    let readers: Vec<u64> = answering(&|reasons| wanted.read.answered_by(reasons))
        .into_iter()
        .filter(|address| all[address].body.callees().contains(&inner))
        .collect();
    // Only SSL_read moves the cursor of pending data; SSL_peek, where it stands alone, does not.
    let (mut moving, peeking): (Vec<u64>, Vec<u64>) = readers.into_iter().partition(|address| all[address].body.moves_a_cursor());
    if moving.is_empty() && peeking.len() == 1 {
        moving = callers(image, starts, peeking[0]);
    }
    let read = only(moving, "SSL_read")?;
    Ok(vec![
        function(image, Role::Write, write, "reports 66, 111, 215, 226")?,
        function(image, Role::Read, read, "reports 66, calls what reports 215, 226")?,
    ])
}

/// Functions that call this one and move a cursor.
fn callers(image: &Image<'_>, starts: &mut Lazy<'_, '_>, callee: u64) -> Vec<u64> {
    let mut places = Vec::new();
    each_call(image, |place, target, _| {
        if target == callee && places.len() < 64 {
            places.push(place);
        }
    });
    let mut found = BTreeSet::new();
    for place in places {
        if let Ok(run) = starts.get().around(image, place) {
            let body = Body::decode(run);
            if body.callees().contains(&callee) && body.moves_a_cursor() {
                found.insert(run.address);
            }
        }
    }
    found.into_iter().collect()
}
