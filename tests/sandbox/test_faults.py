from postpost.sandbox.faults import MAX_PENDING, Fault, Faults, Kind


def test_faults_when_several_wait_then_they_strike_in_order():
    faults = Faults()
    for kind in (Kind.SLOW, Kind.REJECT):
        faults.add(Fault(kind))
    struck = [fault.kind for _ in range(3) if (fault := faults.strike_publishing())]
    assert (struck, bool(faults)) == ([Kind.SLOW, Kind.REJECT], False)


def test_faults_when_an_expiry_waits_first_then_publishing_faults_still_strike():
    faults = Faults()
    faults.add(Fault(Kind.AUTH_EXPIRED))
    faults.add(Fault(Kind.REJECT))
    struck = faults.strike_publishing()
    assert (struck and struck.kind, faults.strike_token(), faults.strike_token()) == (Kind.REJECT, True, False)


def test_faults_when_too_many_wait_then_no_more_are_taken():
    faults = Faults()
    taken = [faults.add(Fault(Kind.SLOW)) for _ in range(MAX_PENDING + 1)]
    assert taken == [True] * MAX_PENDING + [False]


def test_delay_when_none_is_given_then_it_is_that_of_the_kind():
    delays = {kind: Fault(kind).delay_seconds for kind in (Kind.TIMEOUT, Kind.SLOW, Kind.REJECT)}
    assert delays == {Kind.TIMEOUT: 60, Kind.SLOW: 2, Kind.REJECT: 0}
    assert Fault(Kind.SLOW, delay=0.5).delay_seconds == 0.5
