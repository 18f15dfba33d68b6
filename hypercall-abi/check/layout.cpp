// SPDX-License-Identifier: MIT
// Asserts the layout of every structure in C++, and that each is of standard layout.
#include "all.h"

#include <type_traits>

#define CERO_CHECK_SIZE(ours, theirs, size) CERO_CHECK_OWN_SIZE(ours, size)
#define CERO_CHECK_OWN_SIZE(ours, size)                                                            \
    CERO_ABI_SIZE(ours, size);                                                                     \
    static_assert(std::is_standard_layout_v<ours> && std::is_trivially_copyable_v<ours>);
#define CERO_CHECK_FIELD(ours, theirs, field, offset, size)                                        \
    CERO_CHECK_OWN_FIELD(ours, field, offset, size)
#define CERO_CHECK_OWN_FIELD(ours, field, offset, size)                                            \
    CERO_ABI_OFFSET(ours, field, offset);                                                          \
    static_assert(sizeof(static_cast<ours*>(nullptr)->field) == (size), #ours "." #field " size");
#include "fields.def"
