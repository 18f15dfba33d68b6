/* SPDX-License-Identifier: MIT */
/* Asserts the layout of every structure in C11. */
#include "all.h"

#define CERO_CHECK_SIZE(ours, theirs, size) CERO_ABI_SIZE(ours, size);
#define CERO_CHECK_OWN_SIZE(ours, size) CERO_ABI_SIZE(ours, size);
#define CERO_CHECK_FIELD(ours, theirs, field, offset, size)                                        \
    CERO_CHECK_OWN_FIELD(ours, field, offset, size)
#define CERO_CHECK_OWN_FIELD(ours, field, offset, size)                                            \
    CERO_ABI_OFFSET(ours, field, offset);                                                          \
    CERO_STATIC_ASSERT(sizeof(((ours*)0)->field) == (size), #ours "." #field " size");
#include "fields.def"
