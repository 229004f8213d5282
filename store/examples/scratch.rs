#![allow(warnings, clippy::all, reason = "x")]
use paquebot_protocol::*;
use paquebot_store::*;
use std::sync::mpsc;
use std::sync::*;
use std::time::*;
fn batch(n: usize, size: usize) -> Batch {
    let d = vec![7u8; size];
    let mut b = Batch::default();
    for i in 0..n {
        b.push(&Packet { created_ms: i as u64, data: &d, ..Default::default() });
    }
    b
}
fn copy(a: &std::path::Path, b: &std::path::Path) {
    let _ = std::fs::remove_dir_all(b);
    std::fs::create_dir_all(b.join("spool")).unwrap();
    for e in std::fs::read_dir(a.join("spool")).unwrap() {
        let e = e.unwrap();
        std::fs::copy(e.path(), b.join("spool").join(e.file_name())).unwrap();
    }
}
fn main() {
    let dir = std::path::PathBuf::from("/tmp/scratch-a");
    let copied = std::path::PathBuf::from("/tmp/scratch-b");
    let _ = std::fs::remove_dir_all(&dir);
    let took = Arc::new(Mutex::new(vec![]));
    let t2 = took.clone();
    let open = |d: &std::path::Path, t2: Arc<Mutex<Vec<Duration>>>| {
        Spool::open(
            SpoolOptions::new(d, 4 << 30, 100_000),
            Arc::new(FileDisk),
            Box::new(move |c: Committed| t2.lock().unwrap().push(c.took)),
        )
        .unwrap()
    };
    let (s, _) = open(&dir, t2.clone());
    let b = batch(4000, 256);
    let put = |s: &Spool, t: &str, b: &Batch| -> Result<Stored, AppendError> {
        let (a, r) = mpsc::channel();
        s.append(Append {
            target: t.parse().unwrap(),
            batch: b.clone(),
            reply: Box::new(move |x| {
                let _ = a.send(x);
            }),
        });
        r.recv().unwrap()
    };
    // ~ 64 MiB active nearly full
    for _ in 0..50 {
        put(&s, "a.b", &b).unwrap();
    }
    println!("active {:?}", s.status());
    copy(&dir, &copied);
    let t = Instant::now();
    let (k, o) = open(&copied, t2.clone());
    println!("open after kill, {} MiB: {:?}", k.status().file_bytes >> 20, t.elapsed());
    let t = Instant::now();
    k.close().unwrap();
    println!("close {:?}", t.elapsed());
    let t = Instant::now();
    let (k, _) = open(&copied, t2.clone());
    println!("open after close: {:?}", t.elapsed());
    k.close();
    took.lock().unwrap().clear();
    for _ in 0..900 {
        put(&s, "a.b", &b).unwrap();
    }
    let mut v = took.lock().unwrap().clone();
    v.sort();
    println!(
        "offline sync one by one: median {:?} p99 {:?} max {:?} {:?}",
        v[v.len() / 2],
        v[v.len() * 99 / 100],
        v[v.len() - 1],
        s.status()
    );
    copy(&dir, &copied);
    let t = Instant::now();
    let (k, _) = open(&copied, t2.clone());
    println!("open after kill with backlog {:?}: {:?}", k.status(), t.elapsed());
    let t = Instant::now();
    let mut from = Number(1);
    let mut n = 0u64;
    let mut by = 0usize;
    let mut worst = Duration::ZERO;
    loop {
        let (a, r) = mpsc::channel();
        let q = Instant::now();
        k.read(
            Lane(1),
            from,
            1 << 20,
            Box::new(move |x| {
                let _ = a.send(x);
            }),
        );
        let runs = r.recv().unwrap().unwrap();
        worst = worst.max(q.elapsed());
        if runs.is_empty() {
            break;
        }
        for x in &runs {
            n += x.head().count as u64;
            by += x.encoded().len();
        }
        from = runs.last().unwrap().last().next();
    }
    println!(
        "read {n} packets {by} bytes in {:?}: {:.0}/s worst read {worst:?}",
        t.elapsed(),
        n as f64 / t.elapsed().as_secs_f64()
    );
    let t = Instant::now();
    k.drop_through(Lane(1), Number(u64::MAX - 1), 0);
    loop {
        let st = k.status();
        if st.file_bytes < 16 << 20 {
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    println!("drained to {:?} in {:?}", k.status(), t.elapsed());
    k.close().unwrap();
    s.close().unwrap();
    // many lanes
    for (lanes, per) in [(100usize, 40usize), (1000, 4), (10000, 4)] {
        let _ = std::fs::remove_dir_all(&dir);
        took.lock().unwrap().clear();
        let (s, _) = open(&dir, t2.clone());
        let b = batch(per, 256);
        let (a, r) = mpsc::channel();
        let t = Instant::now();
        let mut n = 0u64;
        let targets: Vec<TargetId> =
            (0..lanes).map(|i| format!("t.{i}").parse().unwrap()).collect();
        let mut rounds = 0;
        while t.elapsed() < Duration::from_secs(3) {
            for tg in &targets {
                let a = a.clone();
                s.append(Append {
                    target: tg.clone(),
                    batch: b.clone(),
                    reply: Box::new(move |x| {
                        let _ = a.send(x.unwrap());
                    }),
                });
            }
            for _ in &targets {
                let st = r.recv().unwrap();
                n += st.count;
                s.drop_through(st.lane, Number(st.first.0 - 1), 0);
            }
            rounds += 1;
        }
        println!(
            "{lanes} lanes x {per}: {:.0} packets/s, {} rounds, {} commits, {:?}",
            n as f64 / t.elapsed().as_secs_f64(),
            rounds,
            took.lock().unwrap().len(),
            s.status()
        );
        let q = Instant::now();
        let l = s.lane_states().len();
        println!("lane_states {l} {:?}", q.elapsed());
        s.close().unwrap();
        let t = Instant::now();
        let (s, o) = open(&dir, t2.clone());
        println!("reopen {} lanes {:?}", o.lanes.len(), t.elapsed());
        s.close().unwrap();
    }
    // ledger
    let _ = std::fs::remove_dir_all(&dir);
    let (l, _) = Ledger::open(LedgerOptions { dir: dir.clone() }, Arc::new(FileDisk)).unwrap();
    let fence = Fence { spool: SpoolId([1; 16]), opened: 1, nonce: 1 };
    let (a, r) = mpsc::channel();
    l.admit(
        fence,
        None,
        "c".parse().unwrap(),
        Box::new(move |x| {
            let _ = a.send(x);
        }),
    );
    r.recv().unwrap().unwrap();
    for inflight in [1u64, 16, 256, 1024] {
        let (a, r) = mpsc::channel();
        let h: Arc<str> = "orders".into();
        let mut at = vec![0u64; inflight as usize];
        let base = inflight * 10_000;
        let send = |lane: u64, from: u64| {
            let a = a.clone();
            l.record(Record {
                handler: h.clone(),
                marks: vec![Mark {
                    fence,
                    lane: Lane(base + lane),
                    from: Number(from),
                    through: Number(from + 1),
                    chain: Chain(1),
                    handled: 1,
                }],
                file: None,
                dead: vec![],
                reply: Box::new(move |x| {
                    x.unwrap();
                    let _ = a.send(lane);
                }),
            });
        };
        let t = Instant::now();
        for lane in 0..inflight {
            send(lane, 0);
        }
        let mut n = 0u64;
        while t.elapsed() < Duration::from_secs(1) {
            let lane = r.recv().unwrap();
            n += 1;
            at[lane as usize] += 1;
            send(lane, at[lane as usize]);
        }
        for _ in 0..inflight {
            r.recv().unwrap();
        }
        println!(
            "ledger {inflight} in flight: {:.0} records/s {:?}",
            n as f64 / t.elapsed().as_secs_f64(),
            l.status()
        );
    }
    l.close().unwrap();
}
