// SPDX-License-Identifier: BSD-2-Clause
// The name of this test kernel, which its verdict carries.
extern "C" {
extern const char rt_test_name[];
const char rt_test_name[] = TEST_NAME;
}
