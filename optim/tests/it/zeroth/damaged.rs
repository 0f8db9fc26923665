//! Damaged logs: nothing is accepted that was not written, and nothing panics.

use optim::zeroth::log::{Error, Log, Record, Torn, Writer};
use proptest::prelude::*;
use serde_json::json;

use super::log::header;
use super::{SIGNS, config, scheme, vector};

/// A log of updates, a skip and a rebase; where the header ends, and where each record does.
fn small() -> (Vec<u8>, Vec<usize>) {
    let config = config(json!("spsa"));
    // A record may be longer than the log: how much is left does not tell an end from the middle.
    let mut writer = Writer::new(Vec::new(), header(&config, vec![vector(4)], 40)).unwrap();
    let scheme = scheme(vec![vector(4)], SIGNS);
    let mut ends = vec![writer.get_ref().len()];
    for step in 0..5_u32 {
        let coefficients = vec![0.25 * step as f32; 1 + step as usize % 2];
        let mut record = Record::from(&scheme.update(step, 0.5, 0.0, &coefficients).unwrap());
        if step == 2 {
            record.kind = optim::zeroth::log::Kind::Skip;
            record.coefficients.clear();
        }
        writer.append(&record).unwrap();
        ends.push(writer.get_ref().len());
        if step == 3 {
            writer.append(&Record::rebase(step)).unwrap();
            ends.push(writer.get_ref().len());
        }
    }
    (writer.into_inner(), ends)
}

#[test]
fn a_log_that_is_cut_anywhere_gives_its_whole_records_and_says_what_is_dropped() {
    let (bytes, ends) = small();
    let whole = Log::read(&bytes[..]).unwrap();
    assert_eq!((whole.torn, whole.records.len()), (None, ends.len() - 1));
    for cut in 0..bytes.len() {
        let got = Log::read(&bytes[..cut]);
        if cut < ends[0] {
            assert!(matches!(got, Err(Error::Header { .. })), "cut at {cut}");
            continue;
        }
        let got = got.unwrap();
        let records = ends.iter().filter(|end| **end <= cut).count() - 1;
        assert_eq!(got.records, whole.records[..records], "cut at {cut}");
        assert_eq!(got.end as usize, ends[records]);
        let dropped = (cut - ends[records]) as u64;
        assert_eq!(got.torn.map_or(0, |torn| torn.bytes), dropped);
        assert!(got.torn.is_none_or(|torn| torn.step == got.next_step()));
    }
}

#[test]
fn every_flipped_bit_is_found() {
    let (bytes, ends) = small();
    let whole = Log::read(&bytes[..]).unwrap();
    let last = ends[ends.len() - 2];
    for bit in 0..8 * bytes.len() {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        match Log::read(&damaged[..]) {
            Err(Error::Header { .. }) => assert!(bit / 8 < ends[0], "bit {bit}"),
            Err(Error::Damaged { step, offset, .. }) => {
                // Refused where the damage is.
                let record = ends.iter().filter(|end| **end <= bit / 8).count() - 1;
                assert_eq!(offset as usize, ends[record], "bit {bit}");
                let before = &whole.records[..record];
                assert_eq!(step, before.last().map_or(0, |record| record.step + 1));
                assert!((ends[0]..last).contains(&(bit / 8)), "bit {bit}");
            }
            Err(error) => panic!("bit {bit}: {error}"),
            Ok(log) => {
                assert!(bit / 8 >= last, "bit {bit} in the middle is accepted");
                assert_eq!(log.records, whole.records[..whole.records.len() - 1]);
                let dropped = Torn { step: 4, bytes: (bytes.len() - last) as u64 };
                assert_eq!(log.torn, Some(dropped), "bit {bit}");
            }
        }
    }
}

#[test]
fn a_record_that_is_gone_twice_or_out_of_order_is_refused() {
    let (bytes, ends) = small();
    let record = |i: usize| &bytes[ends[i]..ends[i + 1]];
    let damaged = |parts: &[&[u8]]| {
        let all = [&[&bytes[..ends[0]]], parts].concat().concat();
        matches!(Log::read(&all[..]), Err(Error::Damaged { .. }))
    };
    assert!(damaged(&[record(0), record(2)]), "one is gone, the last one is another");
    assert!(damaged(&[record(0), record(0)]), "twice");
    assert!(damaged(&[record(1), record(0)]), "out of order");
    assert!(damaged(&[record(0), &[0; 19], record(1)]), "zeros before a record");
    assert!(!damaged(&[record(0), record(1)]));
}

#[test]
fn zeros_that_a_crash_left_are_dropped_and_other_bytes_are_not() {
    let (bytes, ends) = small();
    let log = Log::read(&[&bytes[..], &[0; 5000]].concat()[..]).unwrap();
    assert_eq!(log.torn.map(|torn| torn.bytes), Some(5000));
    assert_eq!(log.end as usize, bytes.len());
    let noise: Vec<u8> = (0..5000_u32).map(|i| (i * 7 + 1) as u8).collect();
    let error = Log::read(&[&bytes[..], &noise].concat()[..]).unwrap_err();
    assert!(
        matches!(error, Error::Damaged { step: 5, offset, .. } if offset as usize == bytes.len())
    );
    assert!(error.to_string().contains("record of step 5 at byte"), "{error}");
    // A writer goes on where the records end.
    let torn = Log::read(&bytes[..bytes.len() - 3]).unwrap();
    let kept = bytes[..torn.end as usize].to_vec();
    let mut writer = Writer::resume(kept, &torn);
    assert_eq!(writer.next_step(), 4);
    let scheme = scheme(vec![vector(4)], SIGNS);
    let record = Record::from(&scheme.update(4, 0.5, 0.0, &[1.0]).unwrap());
    writer.append(&record).unwrap();
    let log = Log::read(&writer.into_inner()[..]).unwrap();
    assert_eq!((log.records.len(), log.torn), (ends.len() - 1, None));
}

/// A file system may have extended the file before it wrote all of a record.
#[test]
fn part_of_a_record_and_then_zeros_are_dropped_unless_a_record_follows() {
    let (bytes, ends) = small();
    let whole = Log::read(&bytes[..]).unwrap();
    let last = ends[ends.len() - 2];
    for cut in last..bytes.len() {
        for zeros in [1, 100, 5000] {
            let log = Log::read(&[&bytes[..cut], &vec![0; zeros]].concat()[..]).unwrap();
            // The end of a record may be zeros.
            let records = log.records.len();
            assert_eq!(log.records, whole.records[..records], "cut at {cut}");
            let end = log.end as usize;
            assert!(end == last || end == bytes.len(), "cut at {cut}");
            let dropped = (cut + zeros - end) as u64;
            let torn = log.torn.unwrap();
            assert_eq!((torn.bytes, torn.step), (dropped, log.next_step()), "cut at {cut}");
            assert!(torn.to_string().contains(&format!("the last {dropped} bytes of the log")));
        }
    }
    // A whole record after it: what is before was written, and is damaged.
    let damaged = [&bytes[..last - 3], &[0; 3], &bytes[last..], &[0; 5000]].concat();
    assert!(matches!(Log::read(&damaged[..]), Err(Error::Damaged { .. })));
    let between = [&bytes[..ends[1]], &[0; 5000], &bytes[ends[1]..]].concat();
    assert!(matches!(Log::read(&between[..]), Err(Error::Damaged { .. })));
    // More than a record.
    let noise: Vec<u8> = (0..5000_u32).map(|i| (i * 7 + 1) as u8).collect();
    let long = [&bytes[..], &noise, &[0; 5000]].concat();
    assert!(matches!(Log::read(&long[..]), Err(Error::Damaged { .. })));
}

/// What a header says is bounded before memory is taken for it.
#[test]
fn shapes_that_no_machine_holds_are_refused() {
    let shape = |shape: &[usize]| optim::zeroth::TensorSpec::new("w", shape, true);
    for huge in [&[usize::MAX, 2][..], &[1 << 40, 1 << 40], &[1 << 41], &[usize::MAX]] {
        for kind in ["spsa", "coordinates"] {
            let (config, tensor) = (config(json!(kind)), shape(huge));
            assert!(tensor.len() > 1 << 40, "{huge:?}");
            let tensors = optim::zeroth::Tensors::new(vec![tensor]).unwrap();
            let scheme = config.scheme(17, tensors);
            let digests = vec![String::new()];
            let error = optim::zeroth::log::Header::new(scheme, config, 0, 4, digests);
            let error = error.unwrap_err().to_string();
            assert!(error.contains("w has more than 1099511627776 elements"), "{error}");
        }
    }
    assert_eq!(shape(&[0, usize::MAX, 3]).len(), 0);
    let many = shape(&[1 << 20, 1 << 10]);
    let error = |scheme: optim::zeroth::Scheme| scheme.problems().concat();
    let coordinates = scheme(vec![many.clone()], optim::zeroth::Direction::Coordinates);
    assert!(error(coordinates).contains("trained one at a time, expected at most 65535"));
    let low_rank = optim::zeroth::Direction::LowRank {
        noise: optim::zeroth::Noise::Gaussian,
        rank: u32::MAX,
        vectors: optim::zeroth::Vectors::Dense,
    };
    assert!(error(scheme(vec![many], low_rank)).contains("rank is 4294967295, expected 1 to"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn damage_of_any_kind_accepts_only_what_was_written(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
        tail in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let (bytes, _) = small();
        let whole = Log::read(&bytes[..]).unwrap();
        let mut damaged = bytes.clone();
        for (at, value) in &edits {
            let at = at.index(damaged.len());
            damaged[at] = *value;
        }
        damaged.truncate(cut.index(damaged.len() + 1));
        damaged.extend(&tail);
        if let Ok(log) = Log::read(&damaged[..]) {
            prop_assert!(whole.records.starts_with(&log.records));
            prop_assert_eq!(log.header, whole.header);
        }
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let (own, ends) = small();
        prop_assert!(Log::read(&bytes[..]).is_err());
        let behind_header = [&own[..ends[0]], &bytes].concat();
        if let Ok(log) = Log::read(&behind_header[..]) {
            prop_assert!(log.records.is_empty());
        }
    }
}
