/* SPDX-License-Identifier: BSD-3-Clause */
/* Device specifications: what is accepted, what each mistake is answered with, and the help texts. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "base/word.h"
#include "devices/device.h"
#include "devices/option.h"

enum { PATH, SERIAL, SIZE, QUEUES, RO, DEPTH };

static const struct device_option disk_options[] = {
    [PATH] = {.key = "path", .kind = OPT_STRING, .required = true, .help = "the disk's file"},
    [SERIAL] = {.key = "serial", .kind = OPT_STRING, .def = "PF0001", .help = "serial number"},
    [SIZE] = {.key = "size", .kind = OPT_SIZE, .help = "bytes", .min = 512, .max = 1ULL << 43},
    [QUEUES] = {.key = "queues", .kind = OPT_UINT, .def = "8", .help = "queue pairs", .min = 1, .max = 64},
    [RO] = {.key = "readonly", .kind = OPT_BOOL, .def = "off", .help = "refuse writes"},
    [DEPTH] = {.key = "depth", .kind = OPT_UINT, .help = "no limits"},
    {},
};

/* What create was given, copied: the strings do not outlive the call. */
static struct {
	unsigned int calls;
	char path[64], serial[64];
	bool have_size;
	uint64_t num[8];
} got;

static int disk_create(const struct device_env *env, const struct device_value *v, struct pci_func **f, char *err,
		       size_t errlen)
{
	got.calls++;
	snprintf(got.path, sizeof(got.path), "%s", v[PATH].str);
	snprintf(got.serial, sizeof(got.serial), "%s", v[SERIAL].str);
	got.have_size = v[SIZE].str;
	for (unsigned int i = 0; i <= DEPTH; i++)
		got.num[i] = v[i].num;
	if (!strcmp(v[PATH].str, "missing")) {
		snprintf(err, errlen, "missing: No such file or directory");
		return -ENOENT;
	}
	*f = (struct pci_func *)&got;
	return 0;
}

static int nic_create(const struct device_env *env, const struct device_value *v, struct pci_func **f, char *err,
		      size_t errlen)
{
	got.calls++;
	snprintf(got.path, sizeof(got.path), "%s", v[0].str);
	snprintf(got.serial, sizeof(got.serial), "%s", v[1].str ? v[1].str : "none");
	*f = (struct pci_func *)&got;
	return 0;
}

static size_t nic_more(char *buf, size_t len)
{
	return (size_t)snprintf(buf, len, "What there is more to say.\n");
}

static const struct device_option nic_options[] = {
    {.key = "net", .kind = OPT_NESTED, .def = "null", .help = "the cable", .more = nic_more},
    {.key = "mac", .kind = OPT_STRING, .help = "the address"},
    {},
};
static const struct device_type disk = {
    .name = "disk", .summary = "a disk", .options = disk_options, .create = disk_create};
static const struct device_type nic = {
    .name = "net-card", .summary = "a card", .options = nic_options, .create = nic_create};
const struct device_type *const device_types[] = {&disk, &nic, NULL};

static const struct device_env env;
static struct device_place place;
static struct pci_func *func;
static char err[256];

static int make(const char *spec)
{
	memset(&got, 0, sizeof(got));
	memset(err, 0, sizeof(err));
	func = NULL;
	place = (struct device_place){-2, -2, -2};
	return device_create(&env, spec, &func, &place, err, sizeof(err));
}

static void good_specifications(void **state)
{
	assert_int_equal(make("disk,path=a.img"), 0);
	assert_string_equal(got.path, "a.img");
	assert_string_equal(got.serial, "PF0001");
	assert_false(got.have_size);
	assert_int_equal(got.num[QUEUES], 8);
	assert_int_equal(got.num[RO], 0);
	assert_int_equal(place.bdf, -1);
	assert_int_equal(place.group, -1);
	assert_int_equal(place.domain, 0);
	assert_ptr_equal(func, &got);

	assert_int_equal(make("disk,queues=64,addr=12:1f.7,size=3G,path=x=y,group=4,readonly=on,serial=,depth=0x10"),
			 0);
	assert_string_equal(got.path, "x=y");
	assert_string_equal(got.serial, "");
	assert_true(got.have_size && got.num[SIZE] == 3ULL << 30);
	assert_int_equal(got.num[QUEUES], 64);
	assert_int_equal(got.num[RO], 1);
	assert_int_equal(got.num[DEPTH], 16);
	assert_int_equal(place.bdf, 0x12ff);
	assert_int_equal(place.group, 4);
	assert_int_equal(make("disk,path=a,addr=abcd:01:00.0"), 0);
	assert_int_equal(place.domain, 0xabcd);
	assert_int_equal(place.bdf, 0x100);
}

static void doubled_commas_are_commas(void **state)
{
	assert_int_equal(make("disk,path=a,,b,,,,c,serial=,,"), 0);
	assert_string_equal(got.path, "a,b,,c");
	assert_string_equal(got.serial, ",");
	assert_int_equal(make("disk,path=a,,,queues=2"), 0);
	assert_string_equal(got.path, "a,");
	assert_int_equal(got.num[QUEUES], 2);
}

/* A specification within a specification keeps what belongs to it, and its doubled commas. */
static void nested_specifications(void **state)
{
	static const struct {
		const char *spec, *net, *mac;
	} good[] = {
	    {"net-card", "null", "none"},
	    {"net-card,net=pair:x", "pair:x", "none"},
	    {"net-card,mac=a,net=pcap:in=b,out=c", "pcap:in=b,out=c", "a"},
	    {"net-card,net=pcap:in=b,mac=a,out=c", "pcap:in=b,out=c", "a"},
	    {"net-card,net=pcap:in=b,,c,,,,d,out=,,,addr=1:0.0", "pcap:in=b,,c,,,,d,out=,,", "none"},
	    {"net-card,net=pcap:,in=b", "pcap:,in=b", "none"},
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(good); i++) {
		assert_int_equal(make(good[i].spec), 0);
		assert_string_equal(got.path, good[i].net);
		assert_string_equal(got.serial, good[i].mac);
	}
	/* What has no keys of its own gets none. */
	assert_int_equal(make("net-card,net=null,mca=a"), -EINVAL);
	assert_string_equal(err, "unknown option 'mca' of device 'net-card'; did you mean 'mac'?");
	assert_int_equal(make("net-card,in=b,net=pcap:out=c"), -EINVAL);
	assert_int_equal(make("net-card,net=pcap:out=c,in"), -EINVAL);
	assert_int_equal(make("net-card,net=a:b,net=c:d"), -EINVAL);
	assert_string_equal(err, "option 'net' of device 'net-card' is given twice");
	assert_int_equal(make("net-card,net="), -EINVAL);
	assert_string_equal(err, "option 'net' of device 'net-card' is empty");
}

static void sizes(void **state)
{
	static const struct {
		const char *text;
		uint64_t num;
	} good[] = {{"512", 512},    {"1K", 1024},	 {"1k", 1024},
		    {"7M", 7 << 20}, {"2g", 2ULL << 30}, {"8T", 8ULL << 40},
		    {"0x200", 512},  {"0x1M", 1 << 20},	 {"8589934592K", 1ULL << 43}};
	static const char *const bad[] = {"",
					  "K",
					  "12q",
					  "-1",
					  "+1",
					  " 1",
					  "1 ",
					  "1KB",
					  "1Ki",
					  "1.5G",
					  "0x",
					  "0xg",
					  "511",
					  "9T",
					  "8796093022209",
					  "18446744073709551616",
					  "18446744073709551615T",
					  "99999999999999999999999",
					  "17592186044417M",
					  "1KK",
					  "1@"};
	char spec[128];

	for (unsigned int i = 0; i < ARRAY_SIZE(good); i++) {
		snprintf(spec, sizeof(spec), "disk,path=a,size=%s", good[i].text);
		assert_int_equal(make(spec), 0);
		assert_true(got.num[SIZE] == good[i].num);
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		snprintf(spec, sizeof(spec), "disk,path=a,size=%s", bad[i]);
		assert_int_equal(make(spec), -EINVAL);
		assert_non_null(strstr(err, "option 'size' of device 'disk'"));
		assert_int_equal(got.calls, 0);
	}
}

static void bools(void **state)
{
	static const char *const words[] = {"off", "on", "no", "yes", "false", "true", "0", "1"};
	char spec[64];

	for (unsigned int i = 0; i < ARRAY_SIZE(words); i++) {
		snprintf(spec, sizeof(spec), "disk,path=a,readonly=%s", words[i]);
		assert_int_equal(make(spec), 0);
		assert_int_equal(got.num[RO], i & 1);
	}
}

/* Each mistake and the very words it is answered with. */
static void mistakes_are_explained(void **state)
{
	static const struct {
		const char *spec, *err;
	} bad[] = {
	    {"disk,pth=a", "unknown option 'pth' of device 'disk'; did you mean 'path'?"},
	    {"disk,apth=a", "unknown option 'apth' of device 'disk'; did you mean 'path'?"},
	    {"disk,path=a,grup=1", "unknown option 'grup' of device 'disk'; did you mean 'group'?"},
	    {"disk,path=a,redonly=on", "unknown option 'redonly' of device 'disk'; did you mean 'readonly'?"},
	    {"disk,path=a,colour=red",
	     "unknown option 'colour' of device 'disk'; there are path, serial, size, queues, "
	     "readonly, depth, addr, group, acs, driver, romfile"},
	    {"dsik,path=a", "unknown device type 'dsik'; did you mean 'disk'?"},
	    {"netcard", "unknown device type 'netcard'; did you mean 'net-card'?"},
	    {"gpu", "unknown device type 'gpu'; there are disk, net-card"},
	    {"", "unknown device type ''; there are disk, net-card"},
	    {",path=a", "unknown device type ''; there are disk, net-card"},
	    {"disk=a", "unknown device type 'disk=a'; did you mean 'disk'?"},
	    {"disk", "option 'path' of device 'disk' is missing, and required"},
	    {"disk,path=", "option 'path' of device 'disk' is empty"},
	    {"disk,path", "option 'path' of device 'disk' needs a value, as KEY=VALUE"},
	    {"disk,path=a,path=b", "option 'path' of device 'disk' is given twice"},
	    {"disk,path=a,addr=1:0.0,addr=1:0.0", "option 'addr' of device 'disk' is given twice"},
	    {"disk,path=a,", "empty option of device 'disk' (a comma in a value is written twice)"},
	    {"disk,=a",
	     "unknown option '' of device 'disk'; there are path, serial, size, queues, readonly, depth, addr, "
	     "group, acs, driver, romfile"},
	    {"disk,path=a,queues=0", "option 'queues' of device 'disk': 0 is out of range (1 to 64)"},
	    {"disk,path=a,queues=65", "option 'queues' of device 'disk': 65 is out of range (1 to 64)"},
	    {"disk,path=a,queues=4K", "option 'queues' of device 'disk': '4K' is not a number"},
	    {"disk,path=a,size=511", "option 'size' of device 'disk': 511 is out of range (512 to 8T)"},
	    {"disk,path=a,size=big",
	     "option 'size' of device 'disk': 'big' is not a size (a number of bytes, or one with K, M, G or T)"},
	    {"disk,path=a,readonly=maybe", "option 'readonly' of device 'disk': 'maybe' is not on or off"},
	    {"disk,path=a,readonly=", "option 'readonly' of device 'disk' is empty"},
	    {"disk,path=a,group=-1", "option 'group' of device 'disk': '-1' is not a number"},
	    {"disk,path=a,group=2147483648",
	     "option 'group' of device 'disk': 2147483648 is out of range (0 to 2147483647)"},
	    {"disk,path=a,addr=1", "option 'addr' of device 'disk': '1' is not a PCI address ([DDDD:]BB:DD.F)"},
	    {"disk,help,path=a", "option 'help' of device 'disk' stands alone: -d TYPE,help"},
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(make(bad[i].spec), -EINVAL);
		assert_string_equal(err, bad[i].err);
		assert_int_equal(got.calls, 0);
		assert_null(func);
		assert_int_equal(place.bdf, -2);
	}
}

static void failures_of_create_are_passed_on(void **state)
{
	assert_int_equal(make("disk,path=missing"), -ENOENT);
	assert_string_equal(err, "missing: No such file or directory");
	assert_null(func);
	assert_int_equal(place.bdf, -2);
}

static void addresses(void **state)
{
	static const char *const bad[] = {
	    "",		"01",	       "01:00",		"01:00.8",   "01:20.0", "100:00.0", "01:00.0x", "10000:01:00.0",
	    ":01:00.0", "0000:01:00.", "0000::01:00.0", "0:1:2:3.0", "01:00,0", "g1:00.0",  "01:00.00", "-1:00.0",
	    "01: 0.0"};
	int domain = 5, bdf = 6;

	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(option_parse_addr(bad[i], &domain, &bdf));
	assert_int_equal(domain, 5);
	assert_int_equal(bdf, 6);
	assert_true(option_parse_addr("ff:1f.7", &domain, &bdf));
	assert_int_equal(domain, 0);
	assert_int_equal(bdf, 0xffff);
	assert_true(option_parse_addr("FFFF:0:0.0", &domain, &bdf));
	assert_int_equal(domain, 0xffff);
	assert_int_equal(bdf, 0);
}

static void distances(void **state)
{
	static const struct {
		const char *a, *b;
		unsigned int d;
	} pairs[] = {{"", "", 0},	   {"a", "", 1},	{"path", "path", 0}, {"pth", "path", 1},
		     {"paths", "path", 1}, {"pats", "path", 1}, {"ptah", "path", 1}, {"kitten", "sitting", 3},
		     {"ca", "abc", 3},	   {"abcd", "badc", 2}, {"", "queues", 6}};
	char a[200], b[200];

	for (unsigned int i = 0; i < ARRAY_SIZE(pairs); i++) {
		assert_int_equal(word_distance(pairs[i].a, pairs[i].b), pairs[i].d);
		assert_int_equal(word_distance(pairs[i].b, pairs[i].a), pairs[i].d);
	}
	memset(a, 'a', sizeof(a));
	memset(b, 'b', sizeof(b));
	a[199] = b[199] = '\0';
	assert_int_equal(word_distance(a, b), 63);
}

/* Long words and small buffers: cut, never overrun. */
static void long_words_are_cut(void **state)
{
	char spec[5000], small[16];
	struct device_place p;

	memset(spec, 'x', sizeof(spec));
	memcpy(spec, "disk,", 5);
	spec[sizeof(spec) - 1] = '\0';
	assert_int_equal(make(spec), -EINVAL);
	assert_int_equal(strlen(err), sizeof(err) - 1);
	for (size_t n = 1; n <= sizeof(small); n++) {
		memset(small, '!', sizeof(small));
		assert_int_equal(device_create(&env, "gpu", &func, &p, small, n), -EINVAL);
		assert_true(strlen(small) < n);
		for (size_t i = n; i < sizeof(small); i++)
			assert_int_equal(small[i], '!');
	}
}

/* ---- help ---- */
static char *help_output(const char *spec)
{
	static char buf[4096];
	FILE *tmp = tmpfile();
	int saved = dup(STDOUT_FILENO), rc;
	size_t n;

	fflush(stdout);
	dup2(fileno(tmp), STDOUT_FILENO);
	rc = device_help(spec, err, sizeof(err));
	fflush(stdout);
	dup2(saved, STDOUT_FILENO);
	close(saved);
	rewind(tmp);
	n = fread(buf, 1, sizeof(buf) - 1, tmp);
	buf[n] = '\0';
	fclose(tmp);
	return rc ? NULL : buf;
}

static void help_texts(void **state)
{
	assert_string_equal(help_output("help"), "Device types:\n"
						 "  disk      a disk\n"
						 "  net-card  a card\n"
						 "\n"
						 "-d TYPE,help lists the options of one.\n");
	assert_string_equal(help_output("disk,help"),
			    "disk: a disk\n"
			    "\n"
			    "  OPTION           DEFAULT   MEANING\n"
			    "  path=TEXT        required  the disk's file\n"
			    "  serial=TEXT      PF0001    serial number\n"
			    "  size=SIZE        -         bytes (512 to 8T)\n"
			    "  queues=N         8         queue pairs (1 to 64)\n"
			    "  readonly=on|off  off       refuse writes\n"
			    "  depth=N          -         no limits\n"
			    "  addr=TEXT        -         PCI address, [DDDD:]BB:DD.F; default: the next free\n"
			    "  group=N          -         IOMMU group; default: as Linux would form it\n"
			    "  acs=on|off       -         Access Control Services; default: on for ports\n"
			    "  driver=TEXT      -         its driver; default: vfio-pci; none, or a host's\n"
			    "  romfile=TEXT     -         an expansion ROM image for the function\n"
			    "\n"
			    "Use: -d disk,OPTION=VALUE,... (a comma in a value is written twice)\n");
	assert_non_null(strstr(help_output("net-card,help"), "\n  net=KIND[:...]  null      the cable\n"));
	assert_non_null(strstr(help_output("net-card,help"), "\n\nWhat there is more to say.\n\nUse: "));
	assert_null(help_output("dik,help"));
	assert_string_equal(err, "unknown device type 'dik'; did you mean 'disk'?");
	assert_null(help_output("disk"));
	assert_null(help_output("disk,path=a,help"));
	assert_null(help_output(""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(good_specifications),
	    cmocka_unit_test(doubled_commas_are_commas),
	    cmocka_unit_test(nested_specifications),
	    cmocka_unit_test(sizes),
	    cmocka_unit_test(bools),
	    cmocka_unit_test(mistakes_are_explained),
	    cmocka_unit_test(failures_of_create_are_passed_on),
	    cmocka_unit_test(addresses),
	    cmocka_unit_test(distances),
	    cmocka_unit_test(long_words_are_cut),
	    cmocka_unit_test(help_texts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
