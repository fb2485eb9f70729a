#!/usr/bin/env python3
"""Makes some twelve thousand images of unusual and damaged kinds and compares our decoder with the Pillow that runs this.
usage: image_compare.py FOLDER PROGRAM [SEED]    PROGRAM: build/release/bench/image_list; FOLDER is filled. Needs Pillow and,
for more kinds, cjpeg, jpegtran (libjpeg-turbo-progs) and convert (ImageMagick).

Prints what differs, grouped: pixels that differ; accepted by Pillow and refused here even with warnings allowed; refused by
Pillow and accepted here. Then, as a summary, why the strict decoder refuses what Pillow accepts. SHOW=N in the environment: names to show of each group."""
import collections
import io
import os
import random
import re
import struct
import subprocess
import sys
import warnings
import zlib

import PIL
from PIL import Image

folder, program = sys.argv[1], os.path.abspath(sys.argv[2])
rng = random.Random(int(sys.argv[3]) if len(sys.argv) > 3 else 1)
warnings.simplefilter("ignore")
os.makedirs(folder, exist_ok=True)
os.chdir(folder)
paths = []


def add(name, data):
    with open(name, "wb") as f:
        f.write(data)
    paths.append(name)


def have(tool):
    return any(os.access(os.path.join(d, tool), os.X_OK) for d in os.environ["PATH"].split(":"))


def run(command, data):
    return subprocess.run(command, input=data, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout


def picture(mode, width, height):
    n = len(Image.new(mode, (1, 1)).getbands())
    a, b, noise = rng.randrange(1, 9), rng.randrange(1, 9), rng.choice((1, 20, 120))
    return Image.frombytes(mode, (width, height), bytes(
        (x * (a + 3 * c) + y * (b + 2 * c) + rng.randrange(noise)) % 256 for y in range(height) for x in range(width) for c in range(n)))


def saved(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def size():
    return rng.choice((1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 40, 63, 65)), rng.choice((1, 2, 5, 8, 11, 16, 17, 24, 32, 33, 47, 64))


# ---- JPEG that nothing is wrong with

for i in range(150):
    mode = rng.choice(("L", "RGB", "RGB", "CMYK"))
    options = {"quality": rng.choice((1, 5, 30, 75, 90, 95, 100)), "progressive": rng.random() < .4, "optimize": rng.random() < .3}
    if mode == "RGB":
        options["subsampling"] = rng.choice((0, 1, 2))
    add("pillow-%03d-%s.jpg" % (i, mode), saved(picture(mode, *size()), "JPEG", **options))

samplings = ["1x1", "2x1", "1x2", "2x2", "4x1", "1x4", "4x2", "2x4", "4x4", "3x1", "1x3", "3x3", "3x2", "2x2,1x1,2x1", "2x2,2x1,1x2",
             "2x2,2x2,1x1", "1x1,2x2,2x2", "1x1,2x1,1x2", "4x1,2x1,1x1", "1x1,1x1,2x2", "2x1,1x1,1x1", "1x2,1x1,1x2", "2x2,1x2,2x1",
             "4x2,1x1,2x1", "2x1,1x2,1x1", "3x1,2x1,1x1", "4x1,3x1,1x1"]
if have("cjpeg"):
    n = 0
    for sampling in samplings:
        for extra in ((), ("-progressive",), ("-arithmetic",), ("-restart", "1B"), ("-restart", "2"), ("-arithmetic", "-progressive"), ("-rgb",),
                      ("-dct", "float"), ("-optimize", "-quality", "100")):
            for _ in range(2):
                ppm = saved(picture("RGB", *size()), "PPM")
                data = run(["cjpeg", "-sample", sampling, *extra], ppm)
                if data:
                    add("cjpeg-%s-%s-%d.jpg" % (sampling.replace(",", "_"), "".join(extra), n), data)
                    n += 1
    for extra in ((), ("-progressive",), ("-arithmetic",), ("-restart", "1B"), ("-sample", "2x2"), ("-sample", "4x1")):
        add("cjpeg-grey%s.jpg" % "".join(extra), run(["cjpeg", "-grayscale", *extra], saved(picture("RGB", *size()), "PPM")))
    for k in range(12):
        ppm = saved(picture("RGB", *size()), "PPM")
        data = run(["cjpeg", "-sample", rng.choice(samplings)], ppm)
        if data and have("jpegtran"):
            for extra in (("-arithmetic",), ("-progressive",), ("-grayscale",), ("-rotate", "90"), ("-restart", "3B"), ("-flip", "vertical", "-trim")):
                moved = run(["jpegtran", *extra], data)
                if moved:
                    add("jpegtran-%d%s.jpg" % (k, "".join(extra)), moved)
if have("convert"):
    for k, extra in enumerate((("-colorspace", "CMYK"), ("-colorspace", "Gray"), ("-interlace", "JPEG"), ("-sampling-factor", "4x1"),
                               ("-sampling-factor", "1x2"), ("-define", "jpeg:arithmetic-coding=true"), ("-colorspace", "CMYK", "-interlace", "JPEG"),
                               ("-colorspace", "RGB"), ("-colorspace", "YCbCr"), ("-type", "Bilevel"))):
        add("convert-%d.jpg" % k, run(["convert", "ppm:-", *extra, "jpg:-"], saved(picture("RGB", *size()), "PPM")))


def segment(marker, data):
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(data) + 2) + data


def segments(data):
    """start of each segment up to SOS, as (position, marker)"""
    at, out = 2, []
    while at + 4 <= len(data):
        out.append((at, data[at + 1]))
        if data[at + 1] == 0xda:
            break
        at += 2 + struct.unpack(">H", data[at + 2:at + 4])[0]
    return out


def sof_at(data):
    return next(at for at, marker in segments(data) if 0xc0 <= marker <= 0xcf and marker not in (0xc4, 0xc8, 0xcc))


def bare(data):
    """without APPn and COM"""
    found, out = segments(data), data[:2]
    for (at, marker), (end, _) in zip(found, found[1:] + [(len(data), 0)]):
        if not 0xe0 <= marker <= 0xef and marker != 0xfe:
            out += data[at:end]
    return out


def with_ids(data, ids):
    out, at = bytearray(data), sof_at(data)
    old = [out[at + 10 + 3 * k] for k in range(out[at + 9])]
    for k in range(len(old)):
        out[at + 10 + 3 * k] = ids[k]
    for found, marker in segments(data):
        if marker == 0xda:
            for k in range(out[found + 4]):
                out[found + 5 + 2 * k] = ids[old.index(out[found + 5 + 2 * k])]
    return bytes(out)


jfif = segment(0xe0, b"JFIF\0\1\1\0\0\1\0\1\0\0")
for mode, n_ids in (("RGB", 3), ("CMYK", 4), ("L", 1)):
    for subsampling in (0, 2):
        base = saved(picture(mode, 37, 29), "JPEG", quality=85, **({"subsampling": subsampling} if mode == "RGB" else {}))
        core = bare(base)
        for ids in ((1, 2, 3, 4), (0, 1, 2, 3), (82, 71, 66, 75), (67, 77, 89, 75), (7, 9, 11, 13), (1, 34, 35, 4), (34, 35, 36, 37)):
            body = with_ids(core, ids)
            for front_name, front in (("bare", b""), ("jfif", jfif), *[("adobe%d" % t, segment(0xee, b"Adobe\0\x64\0\0\0\0" + bytes([t]))) for t in (0, 1, 2, 3)],
                                      ("both0", jfif + segment(0xee, b"Adobe\0\x64\0\0\0\0\0")), ("both2", jfif + segment(0xee, b"Adobe\0\x64\0\0\0\0\2")),
                                      ("shortadobe", segment(0xee, b"Adobe\0\x64"))):
                add("colour-%s%d-%d-%s.jpg" % (mode, subsampling, ids[0] * 1000 + ids[1], front_name), body[:2] + front + body[2:])
        if mode == "RGB":
            add("dup-tables%d.jpg" % subsampling, core[:2] + core[2:segments(core)[-1][0]] + core[2:sof_at(core)] + core[segments(core)[-1][0]:])

base = saved(picture("RGB", 53, 41), "JPEG", quality=80)
progressive = saved(picture("RGB", 53, 41), "JPEG", quality=80, progressive=True)
large = saved(picture("RGB", 200, 160), "JPEG", quality=80)
restarts = run(["cjpeg", "-restart", "2B"], saved(picture("RGB", 90, 70), "PPM")) if have("cjpeg") else base
arithmetic = run(["cjpeg", "-arithmetic", "-progressive"], saved(picture("RGB", 50, 40), "PPM")) if have("cjpeg") else base
cmyk = saved(picture("CMYK", 40, 30), "JPEG", quality=80)
grey = saved(picture("L", 40, 30), "JPEG", quality=80)
fronts = {"comment": segment(0xfe, b"hello"), "empty-comment": segment(0xfe, b""), "icc": segment(0xe2, b"ICC_PROFILE\0\1\1" + bytes(300)),
          "icc-broken": segment(0xe2, b"ICC_PROFILE\0\2\9"), "exif-bad": segment(0xe1, b"Exif\0\0II*\0\xff\xff\xff\xff"), "exif-empty": segment(0xe1, b"Exif\0\0"),
          "xmp": segment(0xe1, b"http://ns.adobe.com/xap/1.0/\0<x/>"), "photoshop": segment(0xed, b"Photoshop 3.0\08BIM\4\4\0\0\0\0\0\5ab"), "jfxx": segment(0xe0, b"JFXX\0\x10junk"),
          "app0-short": segment(0xe0, b"JF"), "fill": b"\xff\xff\xff" + segment(0xfe, b"x")[1:], "avi1": segment(0xe0, b"AVI1\0"), "app15": segment(0xef, bytes(1000)),
          "mpf": segment(0xe2, b"MPF\0II*\0\x08\0\0\0\0\0"), "mpf-bad": segment(0xe2, b"MPF\0junk"), "big": segment(0xe9, bytes(65533)), "zero-length": b"\xff\xe5\0\0", "one-length": b"\xff\xe5\0\1",
          "tem": b"\xff\x01", "rst": b"\xff\xd0", "soi": b"\xff\xd8", "zeros": b"\0\0\0", "dac": segment(0xcc, b"\0\1"), "dri0": segment(0xdd, b"\0\0"), "dnl": segment(0xdc, b"\0\x29"),
          "exp": segment(0xdf, b"\0"), "dhp": segment(0xde, b"\x08\0\x29\0\x35\3\1\x22\0\2\x11\0\3\x11\0"), "jpg": segment(0xc8, b"x"), "jpg0": segment(0xf0, b"x"), "res": segment(0x02, b"x")}
for name, front in fronts.items():
    for kind, data in (("base", base), ("progressive", progressive), ("grey", grey), ("cmyk", cmyk)):
        add("front-%s-%s.jpg" % (name, kind), data[:2] + front + data[2:])
        at = segments(data)[-1][0]
        add("middle-%s-%s.jpg" % (name, kind), data[:at] + front + data[at:])
        add("last-%s-%s.jpg" % (name, kind), data[:-2] + front + data[-2:])
for kind, data in (("base", base), ("progressive", progressive), ("grey", grey), ("cmyk", cmyk), ("restarts", restarts), ("arithmetic", arithmetic), ("large", large)):
    for name, tail in (("zeros", bytes(999)), ("one", b"\0"), ("text", b"hello" * 99), ("again", data), ("other", base), ("png", saved(picture("RGB", 5, 5), "PNG")), ("ff", b"\xff" * 40), ("eoi", b"\xff\xd9" * 9)):
        add("tail-%s-%s.jpg" % (name, kind), data + tail)
        add("noend-%s-%s.jpg" % (name, kind), data[:-2] + tail)
    add("noend-%s.jpg" % kind, data[:-2])
    add("halfend-%s.jpg" % kind, data[:-1])
    for percent in range(5, 100, 5):
        cut = data[:len(data) * percent // 100]
        add("cut-%s-%d.jpg" % (kind, percent), cut)
        add("cut-eoi-%s-%d.jpg" % (kind, percent), cut + b"\xff\xd9")
        add("cut-zeros-%s-%d.jpg" % (kind, percent), cut + bytes(len(data) - len(cut)))
        add("cut-sector-%s-%d.jpg" % (kind, percent), cut + b"\xff" * (len(data) - len(cut)))
    for i in range(300):
        broken = bytearray(data)
        for _ in range(rng.choice((1, 1, 1, 2, 5))):
            broken[rng.randrange(2, len(broken))] ^= 1 << rng.randrange(8)
        add("flip-%s-%d.jpg" % (kind, i), bytes(broken))
    for i in range(60):
        at, n = rng.randrange(2, len(data)), rng.randrange(1, 30)
        add("hole-%s-%d.jpg" % (kind, i), data[:at] + data[at + n:])
        add("insert-%s-%d.jpg" % (kind, i), data[:at] + bytes(rng.randrange(256) for _ in range(n)) + data[at:])
        add("zeroed-%s-%d.jpg" % (kind, i), data[:at] + bytes(min(n, len(data) - at)) + data[at + n:])
try:
    mpo = saved(picture("RGB", 40, 30), "MPO", save_all=True, append_images=[picture("RGB", 40, 30)])
    add("two.mpo", mpo)
    for percent in range(5, 100, 5):
        add("mpo-cut-%d.jpg" % percent, mpo[:len(mpo) * percent // 100])
    for i in range(150):
        broken = bytearray(mpo)
        broken[rng.randrange(2, min(len(broken), 400))] ^= 1 << rng.randrange(8)
        add("mpo-flip-%d.jpg" % i, bytes(broken))
except (KeyError, ValueError):
    pass

# ---- PNG

CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def rows(width, height, bits, interlaced, filters=5):
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    out = b""
    for x0, y0, dx, dy in passes if interlaced else [(0, 0, 1, 1)]:
        columns = -(-(width - x0) // dx)
        for _ in range(max(-(-(height - y0) // dy), 0) if columns > 0 else 0):
            out += bytes([rng.randrange(filters)]) + bytes(rng.randrange(256) for _ in range((columns * bits + 7) // 8))
    return out


def header(width, height, depth, colour, interlaced=0, method=0, filtering=0):
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, method, filtering, interlaced))


def png(width, height, depth, colour, interlaced=0, front=b"", middle=b"", back=b"", n_colours=256, n_idat=1, level=6, raw=None):
    data = zlib.compress(rows(width, height, depth * CHANNELS[colour], interlaced) if raw is None else raw, level)
    out = header(width, height, depth, colour, interlaced) + front
    if colour == 3:
        out += chunk(b"PLTE", bytes(rng.randrange(256) for _ in range(3 * n_colours)))
    out += middle
    step = max(1, -(-len(data) // n_idat))
    for at in range(0, len(data), step):
        out += chunk(b"IDAT", data[at:at + step])
    return out + back + chunk(b"IEND", b"")


kinds = [(d, c) for c, ds in ((0, (1, 2, 4, 8, 16)), (2, (8, 16)), (3, (1, 2, 4, 8)), (4, (8, 16)), (6, (8, 16))) for d in ds]
exif = b"MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"
extras = {"gama": chunk(b"gAMA", struct.pack(">I", 45455)), "gama0": chunk(b"gAMA", bytes(4)), "gama-short": chunk(b"gAMA", b"\0"), "chrm": chunk(b"cHRM", struct.pack(">8I", *[31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000])),
          "chrm-short": chunk(b"cHRM", b"abc"), "srgb": chunk(b"sRGB", b"\0"), "srgb-bad": chunk(b"sRGB", b"\x09"), "srgb-empty": chunk(b"sRGB", b""), "iccp": chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(200))),
          "iccp-method": chunk(b"iCCP", b"p\0\7" + zlib.compress(bytes(200))), "iccp-empty": chunk(b"iCCP", b""), "phys": chunk(b"pHYs", struct.pack(">IIB", 2835, 2835, 1)), "phys-short": chunk(b"pHYs", b"\0"),
          "text": chunk(b"tEXt", b"k\0v"), "text-empty": chunk(b"tEXt", b""), "ztxt": chunk(b"zTXt", b"k\0\0" + zlib.compress(b"v")), "ztxt-bad": chunk(b"zTXt", b"k\0\0junk"), "ztxt-method": chunk(b"zTXt", b"k\0\5junk"), "ztxt-empty": chunk(b"zTXt", b""),
          "itxt": chunk(b"iTXt", b"k\0\0\0en\0k\0v"), "itxt-bad": chunk(b"iTXt", b"k"), "itxt-zip": chunk(b"iTXt", b"k\0\1\0en\0k\0junk"), "bkgd": chunk(b"bKGD", b"\0\1\0\2\0\3"), "trns6": chunk(b"tRNS", b"\0\1\0\2\0\3"), "trns2": chunk(b"tRNS", b"\0\1"),
          "trns-empty": chunk(b"tRNS", b""), "trns300": chunk(b"tRNS", bytes(300)), "hist": chunk(b"hIST", bytes(20)), "sbit": chunk(b"sBIT", b"\1\2\3\4"), "exif": chunk(b"eXIf", exif), "exif-bad": chunk(b"eXIf", b"junk"), "time": chunk(b"tIME", bytes(7)),
          "actl": chunk(b"acTL", struct.pack(">II", 2, 0)), "actl-short": chunk(b"acTL", b"\0"), "actl0": chunk(b"acTL", bytes(8)), "fctl": chunk(b"fcTL", bytes(26)), "fctl-short": chunk(b"fcTL", b"\0"), "fdat": chunk(b"fdAT", b"\0\0\0\0junk"), "fdat-empty": chunk(b"fdAT", b""), "plte": chunk(b"PLTE", bytes(range(30))),
          "plte-odd": chunk(b"PLTE", bytes(31)), "plte-empty": chunk(b"PLTE", b""), "plte-big": chunk(b"PLTE", bytes(900)), "ihdr": header(3, 3, 8, 2)[8:], "ihdr-short": chunk(b"IHDR", b"abc"), "cgbi": chunk(b"CgBI", b"\x50\0\x20\2"), "critical": chunk(b"ABCD", b"xyz"), "ancillary": chunk(b"abCd", b"xyz"),
          "reserved": chunk(b"abcd", b"x"), "badname": chunk(b"a\0c1", b"x"), "empty": chunk(b"abCd", b""), "cicp": chunk(b"cICP", b"\1\1\0\1"), "wrongcrc": chunk(b"teXt", b"x")[:-1] + b"\0", "wrongcrc-critical": chunk(b"PLTE", b"xyz")[:-1] + b"\0", "idat-empty": chunk(b"IDAT", b""), "iend": chunk(b"IEND", b""),
          "iend-data": chunk(b"IEND", b"xyz"), "idat-junk": chunk(b"IDAT", b"junk"), "zero": bytes(12), "longlength": struct.pack(">I", 0xffffffff) + b"abCd", "text-huge": chunk(b"tEXt", b"k\0" + b"v" * 70000), "ztxt-bomb": chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(3 << 20)))}
for depth, colour in kinds:
    for interlaced in (0, 1):
        for k in range(4):
            width, height = size()
            add("png-%d-%d-%d-%d.png" % (colour, depth, interlaced, k), png(width, height, depth, colour, interlaced, n_idat=rng.choice((1, 2, 7)), level=rng.choice((0, 1, 9)), n_colours=1 << depth if colour == 3 else 0))
    for name, extra in extras.items():
        options = {"n_colours": 1 << depth if colour == 3 else 0}
        add("png-front-%s-%d-%d.png" % (name, colour, depth), png(11, 9, depth, colour, front=extra, **options))
        add("png-middle-%s-%d-%d.png" % (name, colour, depth), png(11, 9, depth, colour, middle=extra, **options))
        add("png-back-%s-%d-%d.png" % (name, colour, depth), png(11, 9, depth, colour, back=extra, **options))
        add("png-behind-%s-%d-%d.png" % (name, colour, depth), png(11, 9, depth, colour, **options) + extra)
    good = png(19, 13, depth, colour, interlaced=rng.randrange(2), n_colours=1 << depth if colour == 3 else 0, n_idat=2)
    for percent in range(5, 100, 5):
        add("png-cut-%d-%d-%d.png" % (colour, depth, percent), good[:len(good) * percent // 100])
    for n in range(1, 20):
        add("png-cutend-%d-%d-%d.png" % (colour, depth, n), good[:-n])
    for i in range(60):
        broken = bytearray(good)
        broken[rng.randrange(8, len(broken))] ^= 1 << rng.randrange(8)
        add("png-flip-%d-%d-%d.png" % (colour, depth, i), bytes(broken))
    raw = rows(9, 7, depth * CHANNELS[colour], 0)
    for name, data in (("short", raw[:len(raw) // 2]), ("shortrow", raw[:-1]), ("long", raw + bytes(50)), ("empty", b""), ("filter", bytes([9]) + raw[1:])):
        add("png-raw-%s-%d-%d.png" % (name, colour, depth), png(9, 7, depth, colour, raw=data, n_colours=1 << depth if colour == 3 else 0))
    for i in range(40):  # a damaged stream under a right CRC
        data = bytearray(zlib.compress(rows(9, 7, depth * CHANNELS[colour], 0, filters=1), rng.choice((0, 6))))
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        palette = chunk(b"PLTE", bytes(3 << depth)) if colour == 3 else b""
        add("png-stream-%d-%d-%d.png" % (colour, depth, i), header(9, 7, depth, colour) + palette + chunk(b"IDAT", bytes(data)) + chunk(b"IEND", b""))
    data = zlib.compress(raw)
    palette = chunk(b"PLTE", bytes(3 << depth)) if colour == 3 else b""
    for cut in range(1, len(data), 7):
        add("png-streamcut-%d-%d-%d.png" % (colour, depth, cut), header(9, 7, depth, colour) + palette + chunk(b"IDAT", data[:-cut]) + chunk(b"IEND", b""))
    add("png-streamtail-%d-%d.png" % (colour, depth), header(9, 7, depth, colour) + palette + chunk(b"IDAT", data + b"tail") + chunk(b"IEND", b""))
    for interlaced, method, filtering in ((2, 0, 0), (0, 1, 0), (0, 0, 1), (1, 0, 64), (255, 0, 0)):
        add("png-header-%d-%d-%d%d%d.png" % (colour, depth, interlaced, method, filtering), header(9, 7, depth, colour, interlaced, method, filtering) + palette + chunk(b"IDAT", data) + chunk(b"IEND", b""))
for width, height in ((0, 5), (5, 0), (0, 0), (1 << 31, 1), (1, 1 << 31), (0xffffffff, 1), (100000, 1), (1, 100000)):
    add("png-size-%dx%d.png" % (width, height), header(width, height, 8, 0) + chunk(b"IDAT", zlib.compress(bytes(200000))) + chunk(b"IEND", b""))
for n in (1, 2, 5, 16, 200, 255, 256):
    for depth in (1, 2, 4, 8):
        add("png-palette-%d-%d.png" % (n, depth), png(9, 7, depth, 3, n_colours=n))
        add("png-palette-trns-%d-%d.png" % (n, depth), png(9, 7, depth, 3, n_colours=n, middle=chunk(b"tRNS", bytes(rng.randrange(256) for _ in range(min(n, 7))))))
for i in range(60):
    mode = rng.choice(("1", "L", "LA", "P", "RGB", "RGBA", "I", "I;16"))
    image = picture("RGB", *size()).convert("L" if mode.startswith("I") else mode)
    options = {"optimize": rng.random() < .3, "dpi": (72, 72)}
    if mode in ("L", "P"):
        options["transparency"] = rng.randrange(256)
    if mode == "P":
        options["bits"] = rng.choice((1, 2, 4, 8))
    try:
        add("pillow-%03d-%s.png" % (i, mode.replace(";", "")), saved(image.convert("I") if mode.startswith("I") else image, "PNG", **options))
    except (OSError, ValueError):
        pass
if have("convert"):
    for k, extra in enumerate((("-interlace", "PNG"), ("-depth", "16"), ("-type", "Palette"), ("-type", "PaletteAlpha", "-colors", "9"), ("-colorspace", "Gray", "-depth", "16"), ("-define", "png:color-type=4"),
                               ("-define", "png:color-type=6", "-define", "png:bit-depth=16"), ("-type", "Bilevel"), ("-gamma", "2"), ("-colorspace", "Gray", "-define", "png:bit-depth=4"))):
        add("convert-%d.png" % k, run(["convert", "ppm:-", *extra, "png:-"], saved(picture("RGB", *size()), "PPM")))
try:
    add("animated.png", saved(picture("RGB", 20, 20), "PNG", save_all=True, append_images=[picture("RGB", 20, 20)], default_image=True))
    add("animated-first.png", saved(picture("RGBA", 20, 20), "PNG", save_all=True, append_images=[picture("RGBA", 20, 20)]))
except (KeyError, ValueError):
    pass


# ---- compare

def pillow(path):
    try:
        with Image.open(path) as image:
            if image.format not in ("JPEG", "PNG", "MPO"):
                return "other format"
            grey16 = image.mode in ("I", "I;16", "I;16B") and image.format == "PNG"
            if grey16 and not PIL.__version__.startswith("9."):
                image.load()
                return "ok 16"
            rgb = image.convert("RGB")
            return "ok %d %d %08x" % (rgb.width, rgb.height, zlib.crc32(rgb.tobytes()))
    except Exception as error:
        return "%s: %s" % (type(error).__name__, str(error)[:60])


lines = subprocess.run([program], input="\n".join(paths) + "\n", stdout=subprocess.PIPE, text=True, errors="replace", check=True).stdout.split("\n")[:-1]
assert len(lines) == len(paths), (len(lines), len(paths))
count, groups, strict_reasons = collections.Counter(), collections.defaultdict(list), collections.Counter()
for path, line in zip(paths, lines):
    field = line.split("\t")
    strict, lenient = field[1], field[2]
    ours = "ok %s %s %s" % tuple(field[3:6]) if lenient == "ok" else lenient
    theirs = pillow(path)
    if theirs == "ok 16":
        theirs = ours if ours.startswith("ok") else "ok, 16-bit grey"
    reason = re.sub(r"[0-9]+", "N", strict.split(": ", 1)[-1])
    if theirs.startswith("ok"):
        count["Pillow reads"] += 1
        if not ours.startswith("ok"):
            groups["Pillow reads it, refused here: " + re.sub(r"[0-9]+", "N", lenient.split(": ", 1)[-1])].append(path)
        elif ours != theirs:
            groups["pixels differ"].append(path + (" (strict refuses)" if strict != "ok" else ""))
        else:
            count["same pixels"] += 1
            if strict != "ok":
                count["same pixels, strict refuses"] += 1
                strict_reasons[reason] += 1
    else:
        count["Pillow refuses"] += 1
        if ours.startswith("ok"):
            groups["Pillow refuses it (%s), read here%s" % (re.sub(r"[0-9]+", "N", theirs), "" if strict == "ok" else " with warnings allowed")].append(path)
print("Pillow %s: %d files" % (PIL.__version__, len(paths)), dict(count))
for group, members in sorted(groups.items()):
    print("== %s: %d, as %s" % (group, len(members), " ".join(members[:int(os.environ.get("SHOW", "4"))])))
print("strict refusals of what Pillow reads:")
for reason, n in strict_reasons.most_common():
    print("  %5d %s" % (n, reason))
