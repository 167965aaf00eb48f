//! How fast the records of a space are caught up with, on one core: `cargo run --release --example records [records] [bytes]`.
//!
//! `open` is unsealing and reading, `strict` the signature as those of messages are checked, `alone` as those of records are, one by
//! one, `batch` many at once, as by [`verify_all`]; caught up are those opened and checked at once. The best of five runs.

#![expect(clippy::disallowed_types, reason = "a benchmark reads the real clock")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;
use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use waxwing_crypto::space::{
    Condition, Frame, NamingKey, Opened, Operation, Space, Stands, Statement, verify_all,
};
use waxwing_crypto::state_key::StateKeys;
use waxwing_crypto::{ChangeId, MeshId, Purpose, Result, SigningKey, Timestamp};

const MESH: MeshId = MeshId::from_bytes([7; 16]);

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse().ok());
    let records = args.next().flatten().unwrap_or(20_000);
    let bytes = args.next().flatten().unwrap_or(200);
    println!("{records} records of {bytes} bytes; µs per record");
    println!(
        "{:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>14}",
        "writers", "seal", "open", "strict", "alone", "batch", "caught up"
    );
    for writers in [1, 16, 1_000] {
        report(records, writers, bytes)?;
    }
    Ok(())
}

fn report(records: usize, writers: usize, bytes: usize) -> Result<()> {
    let mut rng = UnwrapErr(SysRng);
    let keys = StateKeys::found(&mut rng);
    let space = Space::new(MESH, &NamingKey::of(MESH, &keys), "bench".parse()?);
    let signing: Vec<_> = (0..writers).map(|_| SigningKey::generate(&mut rng)).collect();
    let public: Vec<_> = signing.iter().map(SigningKey::public).collect();
    let said =
        (0..records).map(|n| statement(n, &signing[n % writers], bytes)).collect::<Result<Vec<_>>>()?;

    let mut sealed = Vec::new();
    let seal = best(|| {
        sealed.clear();
        timed(|| {
            for (n, statement) in said.iter().enumerate() {
                let bytes = space.seal(statement, 1, &keys, &signing[n % writers], &mut rng)?;
                sealed.push((frame(&space, statement), bytes));
            }
            Ok(())
        })
    })?;
    let open = best(|| timed(|| opened(&space, &keys, &sealed).map(|opened| drop(black_box(opened)))))?;
    let list = || -> Result<Vec<_>> {
        let opened = opened(&space, &keys, &sealed)?.into_iter().enumerate();
        Ok(opened.map(|(n, opened)| (opened, public[n % writers])).collect())
    };
    let alone = best(|| {
        let list = list()?;
        timed(|| list.into_iter().try_for_each(|(opened, key)| opened.verify(&key).map(drop)))
    })?;
    let batch = best(|| {
        let list = list()?;
        timed(|| verify_all(list, &mut rng).into_iter().try_for_each(|outcome| outcome.map(drop)))
    })?;
    // As long as what is signed in such a record.
    let strict = strict(&signing[0], &vec![7; sealed[0].1.len() - 130], records)?;
    let each = |time: Duration| time.as_secs_f64() * 1e6 / records as f64;
    print!("{writers:>8}");
    for time in [seal, open, strict, alone, batch] {
        print!(" {:>8.1}", each(time));
    }
    println!(" {:>12.0}/s", 1e6 / each(open + batch));
    Ok(())
}

/// As the signatures of messages are checked.
fn strict(key: &SigningKey, message: &[u8], times: usize) -> Result<Duration> {
    let (public, signature) = (key.public(), key.sign(Purpose::Record, message));
    best(|| timed(|| (0..times).try_for_each(|_| public.verify(Purpose::Record, message, &signature))))
}

fn opened(space: &Space, keys: &StateKeys, sealed: &[(Frame, Bytes)]) -> Result<Vec<Opened>> {
    sealed.iter().map(|(frame, bytes)| space.open(bytes, frame, keys)).collect()
}

fn frame(space: &Space, statement: &Statement) -> Frame {
    let Statement { operation, stands, writer, .. } = *statement;
    Frame { key: space.key(&statement.name), operation, stands, writer }
}

fn statement(n: usize, writer: &SigningKey, bytes: usize) -> Result<Statement> {
    Ok(Statement {
        operation: Operation::Put,
        stands: Stands::Own,
        id: ChangeId::from_bytes([1; 16]),
        writer: writer.public().node_id(),
        when: Condition::Any,
        ttl: None,
        bound: Some(45_000),
        version: 1,
        counter: n as u64 + 1,
        log_seq: 3,
        life: [1; 16],
        of: None,
        seen: None,
        at: Timestamp::from_millis(1_800_000_000_000),
        name: format!("key-{n}").parse()?,
        app: Some("bench".parse()?),
        value: vec![7; bytes].into(),
    })
}

/// The others were disturbed.
fn best(mut run: impl FnMut() -> Result<Duration>) -> Result<Duration> {
    (1..5).try_fold(run()?, |best, _| Ok(best.min(run()?)))
}

fn timed(run: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let start = Instant::now();
    run()?;
    Ok(start.elapsed())
}
