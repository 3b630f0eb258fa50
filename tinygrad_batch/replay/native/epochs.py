"""A whole epoch in one call: the batches of rows are gathered, and run, in machine code."""

from __future__ import annotations

from ...program import Program, Variable
from .entry import Text, nbytes, results
from .storage import rounded
from .values import Frame


def _row(v: Variable) -> tuple[int, int]:
    """Return how many rows a batch has, and the bytes of one."""
    return (v.shape[0], nbytes(v) // max(1, v.shape[0])) if v.shape else (1, nbytes(v))


def can_run(program: Program) -> bool:
    """Return whether every input is made of rows, as many of each."""
    counts = {v.shape[0] if v.shape else 0 for v in program.inputs}
    return len(counts) == 1 and 0 not in counts


def epoch_text(program: Program, frame: Frame, step: str) -> str:
    """Return the text of the function that runs many batches: ``(frame, table) -> 0``, or -1 after a signal.

    The table holds the number of batches; the address of the order, or 0; for each input the addresses
    of all rows and of room for a batch; for each output the address of its results; for each number its
    value, and what is added to it after each batch. All entries of the frame are written in every batch, for
    a signal that is handled between two may run the same program.
    """
    lines = [
        "define i64 @epoch(ptr %frame, ptr %table) nounwind {", "entry:",
        "  %batches = load i64, ptr %table",
        "  %p.order = getelementptr i64, ptr %table, i64 1", "  %order = load ptr, ptr %p.order",
        "  %ordered = icmp ne ptr %order, null",
    ]  # fmt: skip
    body: list[str] = []
    place = 2
    for i, v in enumerate(program.inputs):
        batch, row = _row(v)
        for name in ("all", "room"):
            lines += [f"  %p.{name}{i} = getelementptr i64, ptr %table, i64 {place}",
                      f"  %{name}{i} = load ptr, ptr %p.{name}{i}"]  # fmt: skip
            place += 1
        slot = frame.starts["input"] + i
        body += [
            f"  %slot{i} = getelementptr i64, ptr %frame, i64 {slot}",
            f"  br i1 %ordered, label %gather{i}, label %direct{i}",
            f"direct{i}:",
            f"  %from{i} = mul i64 %b, {batch * row}",
            f"  %rows{i} = getelementptr i8, ptr %all{i}, i64 %from{i}",
            f"  store ptr %rows{i}, ptr %slot{i}",
            f"  br label %have{i}",
            f"gather{i}:",
            f"  store ptr %room{i}, ptr %slot{i}",
            f"  %base{i} = mul i64 %b, {batch}",
            f"  br label %row{i}",
            f"row{i}:",
            f"  %r{i} = phi i64 [0, %gather{i}], [%r{i}.next, %row{i}]",
            f"  %n{i} = add i64 %base{i}, %r{i}",
            f"  %w{i} = getelementptr i64, ptr %order, i64 %n{i}",
            f"  %which{i} = load i64, ptr %w{i}",
            f"  %s{i} = mul i64 %which{i}, {row}",
            f"  %source{i} = getelementptr i8, ptr %all{i}, i64 %s{i}",
            f"  %t{i} = mul i64 %r{i}, {row}",
            f"  %target{i} = getelementptr i8, ptr %room{i}, i64 %t{i}",
            f"  call void @llvm.memcpy.p0.p0.i64(ptr %target{i}, ptr %source{i}, i64 {row}, i1 false)",
            f"  %r{i}.next = add i64 %r{i}, 1",
            f"  %r{i}.more = icmp slt i64 %r{i}.next, {batch}",
            f"  br i1 %r{i}.more, label %row{i}, label %have{i}",
            f"have{i}:",
        ]
    for i, v in enumerate(results(program)):
        lines += [f"  %p.out{i} = getelementptr i64, ptr %table, i64 {place}", f"  %out{i} = load ptr, ptr %p.out{i}"]
        place += 1
        body += [f"  %o{i} = mul i64 %b, {nbytes(v)}", f"  %result{i} = getelementptr i8, ptr %out{i}, i64 %o{i}",
                 f"  %there{i} = getelementptr i64, ptr %frame, i64 {frame.starts['output'] + i}",
                 f"  store ptr %result{i}, ptr %there{i}"]  # fmt: skip
    for i, v in enumerate(program.numbers):
        body += [f"  %p.now{i} = getelementptr double, ptr %table, i64 {place}",
                 f"  %now{i} = load double, ptr %p.now{i}",
                 f"  %p.number{i} = getelementptr double, ptr %frame, i64 {frame.numbers[v]}",
                 f"  store double %now{i}, ptr %p.number{i}",
                 f"  %p.up{i} = getelementptr double, ptr %table, i64 {place + 1}",
                 f"  %up{i} = load double, ptr %p.up{i}", f"  %then{i} = fadd double %now{i}, %up{i}",
                 f"  store double %then{i}, ptr %p.now{i}"]  # fmt: skip
        place += 2
    body.append(f"  call void @{step}(ptr %frame)")
    return "\n".join([
        *lines,
        "  br label %turn",
        "turn:",
        "  %b = phi i64 [0, %entry], [%b.next, %go]",
        *body,
        "  %b.next = add i64 %b, 1",
        "  %stop = call i32 @tb_PyErr_CheckSignals()",
        "  %stopped = icmp ne i32 %stop, 0",
        "  br i1 %stopped, label %done, label %go",
        "go:",
        "  %more = icmp slt i64 %b.next, %batches",
        "  br i1 %more, label %turn, label %done",
        "done:",
        "  %answer = sext i32 %stop to i64",
        "  ret i64 %answer",
        "}",
    ])  # fmt: skip


def batches_text(program: Program, frame: Frame) -> str:
    """Return the text of the built-in that runs the batches of an epoch.

    It takes for each input all its rows, the order or None, the numbers, and what is added to each after a
    batch; it returns the tuple of results, or None where it does not know an argument at a glance.
    """
    t = Text(program, frame)
    inputs, count = len(program.inputs), len(program.numbers)
    t.equal("i64", "%count", inputs + 1 + 2 * count, "slow")
    batch = program.inputs[0].shape[0]
    rows = ""
    data = []
    for i, v in enumerate(program.inputs):
        given = t.argument(i)
        data.append(t.array(given, v.dtype, (None, *v.shape[1:])))
        length = t.length(given, 0)
        if rows:
            t.equal("i64", length, rows, "slow")
        rows = rows or length
        if nbytes(v):
            some = t.let(f"call i64 @llvm.umax.i64(i64 {length}, i64 1)")
            t.apart(data[-1], t.let(f"mul i64 {some}, {_row(v)[1]}"))
    order = t.argument(inputs)
    numbers = [t.number(inputs + 1 + i) for i in range(2 * count)]
    t.lines += [
        f"  %plain = icmp eq ptr {order}, {t.object('none')}", "  br label %which", "which:",
        "  br i1 %plain, label %made, label %ordered", "ordered:",
    ]  # fmt: skip
    places = t.array(order, "intp", (None,))
    named = t.length(order, 0)
    t.lines += [
        f"  %some = icmp sgt i64 {named}, 0", "  br label %before", "before:",
        "  br i1 %some, label %look, label %seen", "look:",
        "  %k = phi i64 [0, %before], [%k.next, %look]", "  %worst = phi i64 [0, %before], [%worse, %look]",
        f"  %order.base = inttoptr i64 {places} to ptr", "  %k.place = getelementptr i64, ptr %order.base, i64 %k",
        "  %k.row = load i64, ptr %k.place", "  %worse = call i64 @llvm.umax.i64(i64 %worst, i64 %k.row)",
        "  %k.next = add i64 %k, 1", f"  %k.more = icmp slt i64 %k.next, {named}",
        "  br i1 %k.more, label %look, label %looked", "looked:", f"  %fine = icmp ult i64 %worse, {rows}",
        "  br i1 %fine, label %seen, label %slow", "seen:", "  br label %made", "made:",
        f"  %used = phi i64 [{rows}, %which], [{named}, %seen]", f"  %order = phi i64 [0, %which], [{places}, %seen]",
        f"  %batches = udiv i64 %used, {batch}",
    ]  # fmt: skip
    sizes = [rounded(nbytes(v)) for v in program.inputs]
    memory = t.let(f"call ptr @tb_PyMem_RawMalloc(i64 {sum(sizes) + 64})")
    t.unless(t.let(f"icmp ne ptr {memory}, null"), "slow")
    begin = t.let(f"ptrtoint ptr {memory} to i64")
    start = t.let(f"and i64 {t.let(f'add i64 {begin}, 63')}, -64")
    entries = ["%batches", "%order"]
    for i, pointer in enumerate(data):
        entries += [pointer, t.let(f"add i64 {start}, {sum(sizes[:i])}")]
    result = t.tuple()
    for i, v in enumerate(results(program)):
        for axis, n in enumerate(("%batches", *v.shape)):
            t.lines.append(f"  store i64 {n}, ptr {t.let(f'getelementptr i64, ptr %shape, i64 {axis}')}")
        entries.append(t.let(f"ptrtoint ptr {t.result(result, i, v, len(v.shape) + 1, '%shape')} to i64"))
    values = [("i64", e) for e in entries] + [("double", numbers[i]) for n in range(count) for i in (n, count + n)]
    for i, (kind, value) in enumerate(values):
        t.lines.append(f"  store {kind} {value}, ptr {t.let(f'getelementptr i64, ptr %table, i64 {i}')}")
    longest = max([len(v.shape) for v in results(program)], default=0) + 1
    return "\n".join([
        "declare i64 @llvm.umax.i64(i64, i64)",
        "define ptr @batches(ptr %self, ptr %given, i64 %count) nounwind {",
        "entry:",
        f"  %shape = alloca [{longest} x i64]",
        f"  %table = alloca [{table_size(program)} x i64]",
        "  %place = getelementptr i8, ptr %self, i64 16",
        "  %frame = load ptr, ptr %place",
        *t.lines,
        "  %any = icmp ne i64 %batches, 0",
        "  br i1 %any, label %run, label %ran",
        "run:",
        "  %stopped = call i64 @epoch(ptr %frame, ptr %table)",
        "  %whole = icmp eq i64 %stopped, 0",
        "  br i1 %whole, label %ran, label %drop",
        "ran:",
        f"  call void @tb_PyMem_RawFree(ptr {memory})",
        f"  ret ptr {result}",
        "drop:",
        f"  call void @tb_Py_DecRef(ptr {result})",
        "  br label %none",
        "none:",
        f"  call void @tb_PyMem_RawFree(ptr {memory})",
        "  ret ptr null",
        "slow:",
        f"  %nothing.place = getelementptr i8, ptr %frame, i64 {8 * t.objects['none']}",
        "  %nothing = load ptr, ptr %nothing.place",
        "  call void @tb_Py_IncRef(ptr %nothing)",
        "  ret ptr %nothing",
        "}",
    ])  # fmt: skip


def table_size(program: Program) -> int:
    """Return how many entries the table of an epoch has."""
    return 2 + 2 * len(program.inputs) + len(program.outputs) + 2 * len(program.numbers)
