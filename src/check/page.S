/* SPDX-License-Identifier: BSD-3-Clause */
/* The page that a report as HTML is made of, as it lies beside this file. */
	.section .rodata
	.globl page_html, page_html_end
page_html:
	.incbin "page.html"
page_html_end:
	.byte 0
	.section .note.GNU-stack, "", @progbits
